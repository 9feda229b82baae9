"""`genmods evaluate`: metrics of a checkpoint that need many samples, features or a likelihood."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli import model_options
from genmods.cli.progress import ProgressBar
from genmods.cli.unfinished import unfinished
from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.cli.unfinished import Unfinished
    from genmods.core.progress import Progress
    from genmods.data.base import DataModule
    from genmods.metrics.base import EvaluationData, Metric, MetricResult, MetricValue
    from genmods.models import Model
    from genmods.runs.checkpoint import Checkpoint


OVERRIDES = ("data",)


def arguments(parser: argparse.ArgumentParser) -> None:
    model_options.checkpoint(parser, required=False)
    parser.add_argument("--samples", metavar="DIR", help="a folder of images, in place of samples of a checkpoint")
    parser.add_argument("--reference", metavar="DIR", help="a folder of images to compare --samples with")
    text = "side to which the images of both folders are resized (default: the size of --samples)"
    parser.add_argument("--image_size", type=int, metavar="N", help=text)
    parser.add_argument("--metrics", metavar="M,M", required=True, help="names from `genmods list metric`")
    parser.add_argument("--n", type=int, default=2000, help="number of samples (default: 2000)")
    text = "a classifier's run, or a name from `genmods list features`; NAME=FILE sets its weights"
    parser.add_argument("--features", metavar="F", help=text)
    text = "other images, for `anomaly`: a folder of image files, or a data set of `genmods list data`"
    parser.add_argument("--against", metavar="PATH", help=text)
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument("--batch_size", type=int, default=256, help="batch size (default: 256)")
    parser.add_argument("--out", metavar="FILE.json", help="output file (default: evaluation.json in the run folder)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    model_options.arguments(parser)


def run(options: argparse.Namespace) -> None:
    from genmods.config.build import create

    if options.n < 2:
        raise UserError(f"--n must be at least 2, got {options.n}")
    if options.batch_size < 1:
        raise UserError(f"--batch_size must be at least 1, got {options.batch_size}")
    metrics = {name: create("metric", name) for name in options.metrics.split(",") if name}
    if not metrics:
        raise UserError("--metrics must name at least one metric of `genmods list metric`")
    if options.samples or options.reference:
        of_folders(options, metrics)
    elif options.ckpt_path:
        of_checkpoint(options, metrics)
    else:
        raise UserError("genmods evaluate: --ckpt_path is required, or --samples and --reference")


def of_folders(options: argparse.Namespace, metrics: dict[str, Metric]) -> None:
    """Compute metrics of a folder of samples against a folder of reference images."""
    from genmods.cli import folder_metrics
    from genmods.metrics.base import in_memory

    for name in ("samples", "reference"):
        if not getattr(options, name):
            raise UserError(f"--{name} is required with --{'reference' if name == 'samples' else 'samples'}")
    given = [f"--{name}" for name in ("ckpt_path", "against") if getattr(options, name)]
    if given := [*given, *(override.partition("=")[0] for override in options.overrides)]:
        raise UserError(f"--samples cannot be combined with {given[0]}")
    out = Path(options.out) if options.out else None
    settings = {"samples": options.samples, "reference": options.reference, "seed": options.seed}

    def read(bar: Progress) -> EvaluationData:
        return folder_metrics.gather(options, bar, in_memory, lambda line: say(line, file=sys.stderr))

    computed(options, metrics, read, settings, out, [])


def of_checkpoint(options: argparse.Namespace, metrics: dict[str, Metric]) -> None:
    """Compute metrics of a checkpoint on the data of its recipe, and log them to its run."""
    from genmods.runs import folders
    from genmods.runs.checkpoint import Checkpoint

    if options.image_size is not None:
        raise UserError("--image_size applies to --samples; use --data.image_size")
    path = folders.find_checkpoint(options.ckpt_path)
    checkpoint = Checkpoint.read(path)
    model = model_options.placed(checkpoint.model(), options)
    for metric in metrics.values():
        metric.check_model(model)
    exported = path.suffix == ".safetensors"
    beside = path.with_suffix(".json") if exported else folders.run_folder(path) / "evaluation.json"
    out = Path(options.out) if options.out else beside
    settings = {"checkpoint": str(path), "n": options.n, "seed": options.seed, "data": options.overrides}
    results: list[MetricResult] = []
    depends = model_options.dependencies(options, "out", "quiet", "metrics", "features")
    with unfinished(out, depends) as work:

        def read(bar: Progress) -> EvaluationData:
            return gather(model, checkpoint, options, bar, work)

        gathered = computed(options, metrics, read, settings, out, results)
        record(path, checkpoint, model, gathered, results, out, options.overrides)


def computed(
    options: argparse.Namespace,
    metrics: dict[str, Metric],
    read: Callable[[Progress], EvaluationData],
    settings: dict[str, Any],
    out: Path | None,
    results: list[MetricResult],
) -> EvaluationData:
    """Compute the metrics of the data that `read` returns, write each to `out`, append them to `results`, print all."""
    from genmods.metrics.base import counts, require_enough

    try:
        with ProgressBar(options.quiet, "evaluating") as bar:
            gathered = read(bar)
            settings["features"] = gathered.features.name if gathered.features else None
            require_enough(metrics, counts(gathered))
            for name, metric in metrics.items():
                try:
                    results.append(metric(gathered))
                except ValueError as error:
                    raise UserError(f"{name}: {error}") from error
                if out:
                    write(results, settings, out)  # it may have taken hours
        return gathered
    finally:
        if results:
            figures = [figure for found in results for figure in found.values]
            table(figures, sys.stdout)
            for figure in figures:
                if figure.note:
                    say(f"{figure.name}: {figure.note}", file=sys.stderr)
            if out:
                say(f"written to {out}", file=sys.stderr)


def write(results: list[MetricResult], settings: dict[str, Any], out: Path) -> None:
    """Write the metrics, with the settings of the evaluation, to the file `out`."""
    from genmods.tracking.base import write_json

    figures = [vars(figure) for found in results for figure in found.values]
    write_json(out, {**settings, "figures": figures})


def record(
    path: Path,
    checkpoint: Checkpoint,
    model: Model,
    gathered: EvaluationData,
    results: list[MetricResult],
    out: Path,
    overrides: list[str],
) -> None:
    """Log metrics, pictures and samples to the run that wrote the checkpoint, and update its report."""
    from genmods.callbacks.sample_grid import sample_table
    from genmods.runs import folders
    from genmods.runs.fit import build_data
    from genmods.runs.loggers import recipe_of, reopened, reopened_loggers
    from genmods.tracking.base import Logbook
    from genmods.visual.picture import to_picture

    folder, show = folders.run_folder(path), build_data(checkpoint.parsed(overrides=overrides)).show
    loggers = reopened_loggers(recipe_of(checkpoint), checkpoint)
    with reopened(folder, checkpoint, loggers):
        book = Logbook(folder, loggers, checkpoint.last_row)
        book.metrics({f"test/{figure.name}": figure.value for found in results for figure in found.values})
        written = [out]
        for name, (columns, rows) in (pair for found in results for pair in found.tables.items()):
            written.append(book.table(name, columns, rows))
            say(f"table {written[-1]}", file=sys.stderr)
        for name, images in (pair for found in results for pair in found.pictures.items()):
            written.append(book.picture(name, to_picture(show(images), columns=5)))
            say(f"picture {written[-1]}", file=sys.stderr)
        if "samples" in vars(gathered):
            book.rows(*sample_table(model, show(gathered.samples), book.step + 1, gathered.seed))
        book.origin(path, written)


def gather(
    model: Model, checkpoint: Checkpoint, options: argparse.Namespace, progress: Progress, work: Unfinished
) -> EvaluationData:
    """The inputs of the metrics: data (of the checkpoint's recipe, with overrides), samples, likelihood."""
    from genmods.core.atomic import cache
    from genmods.metrics.base import EvaluationData
    from genmods.models import HasLikelihood
    from genmods.runs.evaluate import check_data, report_preparation
    from genmods.runs.fit import build_data

    make = sampler(model, options.seed, options.batch_size, progress, work)
    data = build_data(checkpoint.parsed(overrides=options.overrides))
    if checkpoint.preparation is not None:
        data.prepare_as(checkpoint.preparation)
    check_data(model, checkpoint.data_info, data.info)
    report_preparation(checkpoint.preparation, data.preparation)
    if make and (shape := checkpoint.data_info.shape) != (now := data.info.shape):
        raise UserError(f"data must have shape {list(shape)} like the model's samples, got {list(now)}")
    train, test = (data.arrays(split) or (None, None) for split in ("train", "test"))
    others, other_names = other_images(options.against, data) if options.against else (None, None)
    return EvaluationData(
        train=train[0],
        train_labels=train[1],
        train_names=data.names("train"),
        test=test[0],
        test_labels=test[1],
        generate=make,
        features=model_options.find_features(options.features, model),
        model=model,
        others=others,
        other_names=other_names,
        likelihood=model.likelihood() if isinstance(model, HasLikelihood) else None,
        progress=progress,
        n=options.n,
        levels=data.info.levels,
        seed=options.seed,
        cache=cache("statistics"),
        compute=work.computed,
    )


def other_images(text: str, data: DataModule) -> tuple[Tensor, list[str]]:
    """Images [M, C, H, W] of the folder or the data set `text`, prepared like those of `data`, and their names."""
    from genmods.config.build import create
    from genmods.config.registry import names
    from genmods.data.decoding import decode_files
    from genmods.data.images import converted
    from genmods.data.walk import find_images

    preparation, levels = data.preparation, data.info.levels
    if preparation is None:
        raise UserError(f"--against {text}: the model's data are not images")
    preparation = replace(preparation, levels=levels)
    if Path(text).exists() or text not in names("data"):
        paths = find_images([text])
        pixels, good, broken, _, notes = decode_files(paths, preparation)
        for line in (*broken, *notes):
            say(line, file=sys.stderr)
        return pixels[good], [str(path) for path, fine in zip(paths, good.tolist(), strict=True) if fine]
    source = create("data", text)
    splits = source.read()
    images = converted(splits.get("test", splits["train"]), preparation, source.levels)
    return images, [f"{text} {i}" for i in range(len(images))]


def sampler(
    model: Model, seed: int, batch_size: int, progress: Progress, work: Unfinished
) -> Callable[[int], Tensor] | None:
    """A function that returns n samples [n, C, H, W] of the model on the CPU; None if it is not generative."""
    from genmods.core.progress import part_of
    from genmods.models import Generates

    if not isinstance(model, Generates):
        return None

    def samples(n: int) -> Tensor:
        def batch(first: int, stop: int) -> Tensor:
            report = part_of(progress, first // batch_size, -(-n // batch_size))
            return model.sample(stop - first, seed=seed, batch_size=batch_size, first=first, progress=report).float()

        return work.computed("samples", n, batch_size, batch)

    return samples


def table(figures: list[MetricValue], file: Any) -> None:
    """Print the metrics as an aligned table."""
    say(f"{'metric':<18}{'value':>12}  {'95 % interval':<24}{'real images':>11}", file=file)
    for figure in figures:
        interval = "" if figure.low is None else f"{figure.low:.5g} ... {figure.high:.5g}"
        held_out = "" if figure.held_out is None else f"{figure.held_out:.5g}"
        say(f"{figure.name:<18}{figure.value:>12.5g}  {interval:<24}{held_out:>11}", file=file)
