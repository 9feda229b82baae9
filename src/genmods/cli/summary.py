"""Summaries printed at the end of a command: paths, main metrics, the next command."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from genmods.cli.tables import predictions
from genmods.config import registry
from genmods.core.printable import printable, say
from genmods.metrics.classification import Classification
from genmods.metrics.regression import Regression
from genmods.metrics.several import SeveralLabels
from genmods.models import Generates, Model, Predicts
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint

_NEXT = (
    (Generates, "generate --ckpt_path {run} --n 64 --out samples"),
    (Predicts, "classify --ckpt_path {run} --input IMAGES --out classes.csv"),
    (object, "test --config {run}/recipe.yaml --ckpt_path {run}"),
)
"""The next command suggested for a trained task, by the first ability that it has."""


@rank_zero_only
def after_fit(folder: Path) -> None:
    """Print the summary of a finished training run on stderr."""
    from genmods.config.parts import Part
    from genmods.config.recipe import from_plain
    from genmods.config.text import plain, read

    path = folder / "recipe.yaml"
    task = from_plain(plain(read(path)), source=str(path)).task
    cls = registry.resolve((task.model or task).entry) if isinstance(task, Part) else object
    lines: dict[str, str] = {}
    if (folder / folders.LAST).is_file():  # a trial run has none
        checkpoint = folders.find_checkpoint(folder)
        lines["checkpoint"] = str(checkpoint)
        lines["figures"] = _figures(Checkpoint.read(checkpoint).figures)
    if (folder / "report.html").is_file():
        lines["report"] = str(folder / "report.html")
    command = next(text for ability, text in _NEXT if issubclass(cls, ability)).format(run=folder)
    if "checkpoint" in lines:
        lines["next"] = " ".join(["python -m genmods", command, *map(shlex.quote, registry.imports())])
    say(*(f"{name:<11}{text}" for name, text in lines.items() if text), file=sys.stderr)


def _figures(found: dict[str, Any]) -> str:
    """Up to four metrics of the validation stored in a checkpoint, with its step."""
    values = sorted(found.get("values", {}).items())[:4]
    return ", ".join([*(f"{name} {value:.4g}" for name, value in values), f"at step {found['step']}"]) if values else ""


@rank_zero_only
def stopped(run: Path | None, step: int, why: str = "stopped") -> None:
    """The line, on stderr, with the command that continues a run that ended before its last step."""
    if run is None:
        say(f"{why} before the first step", file=sys.stderr)
        return
    options = ["--config", str(run / "recipe.yaml"), "--ckpt_path", str(run), *registry.imports()]
    command = shlex.join(["python", "-m", "genmods", "fit", *options])
    say(f"{why} at step {step}; resume with: {command}", file=sys.stderr)


@rank_zero_only
def figures(values: dict[str, float], result: object | None = None) -> None:
    """Print the metrics of an evaluation, and a table by class, label or target, on stdout."""
    for name, value in values.items():
        say(f"{name:<24}{value:.6g}")
    if isinstance(result, Classification):
        _by_class(result)
    elif isinstance(result, SeveralLabels):
        _by_label(result)
    elif isinstance(result, Regression):
        _by_target(result)


def _by_class(result: Classification) -> None:
    counts, shares = result.counts, torch.stack([result.recall, result.precision, result.f1], dim=1)
    say("", f"{'class':<20}{'images':>8}{'correct':>9}{'recall':>10}{'precision':>11}{'F1':>8}")
    for k, (name, row) in enumerate(zip(result.class_names, shares.tolist(), strict=True)):
        recall, precision, f1 = map(_share, row)
        images, correct = int(counts[k].sum()), int(counts[k, k])
        say(f"{printable(name):<20}{images:>8}{correct:>9}{recall:>10}{precision:>11}{f1:>8}")


def _by_label(result: SeveralLabels) -> None:
    shares = torch.stack([result.average_precision.double(), *result.shares()], dim=1)
    say("", f"{'label':<20}{'images':>8}{'AP':>8}{'recall':>10}{'precision':>11}{'F1':>8}   (probability 0.5)")
    counts = result.labels.sum(0).int().tolist()
    for name, count, row in zip(result.class_names, counts, shares.tolist(), strict=True):
        ap, recall, precision, f1 = map(_share, row)
        say(f"{printable(name):<20}{count:>8}{ap:>8}{recall:>10}{precision:>11}{f1:>8}")


def _by_target(result: Regression) -> None:
    say("", f"{'target':<20}{'images':>8}{'MAE':>12}{'R2':>12}")
    for name, error, r2 in zip(result.class_names, result.mae.tolist(), result.r2.tolist(), strict=False):
        say(f"{printable(name):<20}{len(result.index):>8}{error:>12.5g}{_share(r2):>12}")


def _share(value: float) -> str:
    return f"{value:.4f}" if value == value else "-"


def predicted(model: Model, batches: list[dict[str, Tensor]], names: Sequence[str], file: IO[str]) -> None:
    """Write the predictions [B, K] in `batches`, for images with these `names`, in the format of `classify`."""
    rows: list[tuple[str, list[float]]] = []
    for batch in batches:
        (values,) = (value for name, value in batch.items() if name != "index")
        rows += zip((names[i] for i in batch["index"].tolist()), values.tolist(), strict=True)
    predictions(rows, file, model)
