"""Every registered network, those of other libraries included, exported and compiled in one graph.

    nox -s torture -- transforms

A line per network with the largest deviation from the network itself. Status 1 where one fails. Run as a script, names
of networks may follow.
"""

import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "networks")]

from test_transforms import SMALL, made  # noqa: E402


def main() -> int:
    failed = []
    for name in sys.argv[1:] or SMALL:
        network, inputs = made(name)
        torch._dynamo.reset()
        try:
            with torch.no_grad():
                want = network(*inputs)
                exported = torch.export.export(network, inputs, strict=True).module()(*inputs)
                compiled = torch.compile(network, backend="eager", fullgraph=True)(*inputs)
        except Exception as error:  # whatever torch raises is the finding
            print(f"{name:14s} {type(error).__name__}: {str(error).splitlines()[0]}")
            failed.append(name)
            continue
        deviations = [(found - want).abs().max().item() for found in (exported, compiled)]
        print("{:14s} exported {:.1e}, compiled {:.1e}".format(name, *deviations), flush=True)
        failed += [name] if max(deviations) > 1e-8 else []
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
