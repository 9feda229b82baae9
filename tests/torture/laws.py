"""Every process with every prediction, sampler and grid at every number of steps: where normal data end.

    nox -s torture -- laws
    python tests/torture/laws.py edm rectified      # of these processes alone
    python tests/torture/laws.py learned prediction=v grid=karras

The closing table has a line per sampler and number of steps: the least and the largest standard deviation of samples
over that of the data, and what fell out of `support.laws.EXCEPTIONS`. Status 1 if anything did.
"""

import sys
from itertools import product
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.config.builtins import BUILTINS
from genmods.diffusion import Denoiser
from support import laws
from support.oracles import Network, built_in


def main() -> int:
    torch.set_num_threads(1)
    processes, seen, faults = laws.all_processes(), {}, []
    words = [word.rpartition("=") for word in sys.argv[1:]]
    parts = {"": list(processes), "prediction": list(BUILTINS["prediction"]), "grid": ["", *BUILTINS["grid"]]}
    chosen = [[name for kind, _, name in words if kind == one] or names for one, names in parts.items()]
    for name, prediction, grid in product(*chosen):
        process = processes[name]
        said = built_in("prediction", prediction)()
        try:
            said.check(process)
        except ValueError:
            continue
        denoiser = Denoiser(Network(laws.Normal(process), process, said), process, said)

        def law(process, sampler, denoiser=denoiser, grid=grid):
            found = laws.normal_law(process, sampler, denoiser)
            seen.setdefault((type(sampler).__name__, sampler.steps), []).append(found.std / laws.STD)
            return found

        for sampler in sorted(set(laws.samplers()) - laws.CONSISTENT):
            faults += [f"{prediction}: {fault}" for fault in laws.faults(sampler, name, process, grid, law)]
    print(f"{'sampler':18s}" + "".join(f"{f'N={steps}':>16s}" for steps in laws.STEPS))
    for sampler in dict.fromkeys(sampler for sampler, _ in seen):
        ranges = [seen.get((sampler, steps)) for steps in laws.STEPS]
        print(f"{sampler:18s}" + "".join(f"{f'{min(r):.3f} to {max(r):.3f}' if r else '-':>16s}" for r in ranges))
    print(f"{sum(map(len, seen.values()))} laws, {len(faults)} outside what is allowed", *faults, sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
