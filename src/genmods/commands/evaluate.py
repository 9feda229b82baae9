"""`genmods evaluate`: figures of a checkpoint that need many samples, features or a likelihood."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.metrics.base import Evidence, Figure
    from genmods.metrics.features import Features
    from genmods.tasks.base import Task


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ckpt_path", metavar="C", required=True, help="a checkpoint file or a run folder")
    parser.add_argument("--metrics", metavar="M,M", required=True, help="names that `genmods list metric` gives")
    parser.add_argument("--n", type=int, default=2000, help="number of samples (default: 2000)")
    parser.add_argument("--features", metavar="F", help="a classifier's run, `inception` or `pixels`")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument("--batch_size", type=int, default=256, help="samples made at once (default: 256)")
    parser.add_argument(
        "--out", metavar="FILE.json", help="where to write, by default evaluation.json in the run folder"
    )


def run(options: argparse.Namespace) -> None:
    from genmods import checkpoint as files
    from genmods import runs
    from genmods.errors import UserError
    from genmods.recipe import create
    from genmods.tracking.base import write_json

    if options.n < 2:
        raise UserError(f"--n must be at least 2, not {options.n}")
    metrics = {name: create("metric", name) for name in options.metrics.split(",") if name}
    path = runs.find_checkpoint(options.ckpt_path)
    state = files.load(path)
    task = runs.restore(state)
    folder = runs.run_folder(path)
    evidence = gather(task, state, options)
    figures: list[Figure] = []
    for name, metric in metrics.items():
        findings = metric(evidence)
        figures += findings.figures
        for title, picture in findings.pictures.items():
            draw(folder / "samples" / f"{title}_{state.get('global_step', 0):06d}.png", picture, name)
    out = Path(options.out) if options.out else folder / "evaluation.json"
    settings = {"checkpoint": str(path), "n": options.n, "seed": options.seed}
    settings["features"] = evidence.features.name if evidence.features else None
    write_json(out, {**settings, "figures": [vars(figure) for figure in figures]})
    table(figures, sys.stdout)
    print(f"written to {out}", file=sys.stderr)


def gather(task: Task, state: dict[str, Any], options: argparse.Namespace) -> Evidence:
    """What the metrics may look at: the data that the checkpoint was trained on, its samples, its likelihood."""
    from genmods.execution import build_data
    from genmods.metrics.base import Evidence
    from genmods.metrics.statistics import default_cache
    from genmods.runs import recipe_of

    data = build_data(recipe_of(state))
    train, test = data.splits["train"], data.splits.get("test")
    return Evidence(
        train=train.pixels,
        train_labels=train.labels,
        test=None if test is None else test.pixels,
        test_labels=None if test is None else test.labels,
        generate=sampler(task, options.seed, options.batch_size),
        features=find_features(options.features, task),
        bits=likelihood(task),
        n=options.n,
        levels=state["facts"]["levels"],
        seed=options.seed,
        cache=default_cache(),
    )


def find_features(choice: str | None, task: Task) -> Features | None:
    """The extractor called `choice`; a classifier's own embedding where the model is one; else none."""
    from genmods import runs
    from genmods.metrics.features import classifier_features, inception_features, pixel_features

    if choice is None:
        return classifier_features(task) if callable(getattr(task, "features", None)) else None
    if choice == "pixels":
        return pixel_features()
    if choice == "inception":
        return inception_features()
    features = classifier_features(runs.load(choice))
    print(f"features {features.name} of {choice}", file=sys.stderr)
    return features


def sampler(task: Task, seed: int, batch_size: int) -> Callable[[int], Tensor] | None:
    """The task's samples, made with a bar; None for a task that makes none."""
    make: Any = getattr(task, "sample", None)
    if make is None:
        return None

    def generate(n: int) -> Tensor:
        from genmods.commands.generate import progress_bar

        with progress_bar(quiet=False) as bar:
            settings = {"progress": bar} if hasattr(task, "denoiser") else {}
            return make(n, seed=seed, batch_size=batch_size, **settings).cpu()

    return generate


def likelihood(task: Task) -> Callable[[Tensor], Tensor] | None:
    """The variational bound in bits per dimension of a diffusion model of pixels; None for others."""
    model: Any = task
    if not hasattr(task, "denoiser") or getattr(task, "codec", None) is not None:
        return None
    from genmods.diffusion.likelihood import vlb

    return lambda images: vlb(model.denoise({}), model.process, images, model.levels).total.detach()


def draw(path: Path, images: Tensor, name: str) -> None:
    """A metric's picture, beside the samples of the run."""
    from genmods.callbacks.shared import to_picture

    path.parent.mkdir(parents=True, exist_ok=True)
    to_picture(images, columns=5).save(path)
    print(f"{name}: picture {path}", file=sys.stderr)


def table(figures: list[Figure], file: Any) -> None:
    """The figures as aligned text."""
    print(f"{'figure':<18}{'value':>12}  {'95 % interval':<24}{'floor':>10}", file=file)
    for figure in figures:
        interval = "" if figure.low is None else f"{figure.low:.5g} ... {figure.high:.5g}"
        floor = "" if figure.floor is None else f"{figure.floor:.5g}"
        print(f"{figure.name:<18}{figure.value:>12.5g}  {interval:<24}{floor:>10}", file=file)
