"""FID against the number of steps: one network, the same noise for every sampler, a classifier's features.

Each point is written to the JSON when it is measured, so that an interrupted run continues; the
picture is drawn from one JSON or several, a panel each.

    python benchmarks/few_steps.py --ckpt_path runs/ddpm --features runs/cnn --out docs/figures/few_steps_digits.json
    python benchmarks/few_steps.py --plot docs/few_steps.png docs/figures/few_steps_*.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import machine
from judge import Judge, run_data

from genmods.cli import model_options
from genmods.config.build import create
from genmods.config.builtins import BUILTINS
from genmods.runs import folders

OTHER_MODELS = {"consistency", "mean_flow"}
"""Samplers that require a model of their task."""
SAMPLERS = [name for name in BUILTINS["sampler"] if name not in OTHER_MODELS]
STEPS = [2, 4, 8, 16, 32, 64]


def measure(options: argparse.Namespace) -> None:
    model: Any = model_options.placed(folders.load(options.ckpt_path), options)
    judge = Judge(run_data(options.ckpt_path), options.features, model.device)
    settings = {"n": options.n, "features": judge.features.name, "precision": options.precision, "seeds": options.seeds}
    floor = {"floor": judge.fid(judge.test[: options.n]), "floor_n": min(options.n, len(judge.test))}
    result: dict[str, Any] = {"what": options.title, **settings, **floor, "fid": {}}
    if options.out.exists():
        result["fid"] = (found := json.loads(options.out.read_text()))["fid"]
        if any(found[name] != value for name, value in settings.items()):
            raise SystemExit(f"{options.out}: measured with other settings than {settings}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for steps in options.steps:
        for name in options.samplers:
            points = result["fid"].setdefault(name, {})
            if str(steps) in points:
                continue
            try:
                sampler = create("sampler", name, steps=steps)
            except ValueError:
                continue  # fewer steps than its order
            samples = (model.sample(options.n, seed=seed, sampler=sampler, batch_size=500) for seed in options.seeds)
            points[str(steps)] = [judge.fid(judge.features(images.cpu(), judge.levels)) for images in samples]
            print(f"{name:<14}{steps:>4}", *(f"{value:>10.3f}" for value in points[str(steps)]), flush=True)
            options.out.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n")


def plot(paths: list[Path], out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(paths), 4.4), dpi=130, layout="constrained")
    for axes, path in zip(figure.subplots(1, len(paths), squeeze=False)[0], paths, strict=True):
        result = json.loads(path.read_text())
        for number, (name, points) in enumerate(result["fid"].items()):
            steps = sorted(map(int, points))
            calls = " (2 calls a step)" if name == "heun" else ""
            line = {"color": f"C{number}", "marker": "os^Dv<>*P"[number % 9], "ms": 5, "lw": 1.6}
            axes.loglog(
                steps, [fmean(points[str(n)]) for n in steps], "-" if number % 2 else "--", label=name + calls, **line
            )
        axes.axhline(result["floor"], color="0.5", ls=":", lw=1.2)
        note = {"textcoords": "offset points", "ha": "right", "color": "0.4", "fontsize": 8}
        axes.annotate(f"{result['floor_n']:,} test images", (64, result["floor"]), (0, 3), **note)
        axes.set(title=f"{result['what']}, n = {result['n']:,}", xlabel="steps", ylabel="FID, classifier features")
        axes.set_xticks(STEPS, [str(n) for n in STEPS])
        axes.minorticks_off()
        axes.grid(True, which="major", color="0.9")
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", nargs="*", type=Path, help="with --plot: what to draw")
    parser.add_argument("--plot", type=Path, help="draw into this file and stop")
    parser.add_argument("--ckpt_path")
    parser.add_argument("--features", help="a classifier's run")
    parser.add_argument("--title", default="digits")
    parser.add_argument("--samplers", nargs="*", choices=SAMPLERS, default=SAMPLERS, metavar="NAME")
    parser.add_argument("--steps", nargs="*", type=int, default=STEPS)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0], help="of sampling; the figures are their means")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32", help="of the network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("bench/few_steps.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.plot:
        plot(options.json, options.plot)
    else:
        measure(options)


if __name__ == "__main__":
    main()
