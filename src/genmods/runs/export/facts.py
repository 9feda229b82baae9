"""What is known of the training of a checkpoint: its own content, and the files of its run folder, if it is in one.

The run folder is not trusted, and it may have changed since the checkpoint was written: figures of later evaluations
count only if they were computed with this checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from genmods.core.printable import counted
from genmods.report.folder import MAX_PICTURE_BYTES
from genmods.report.sidecars import read_inside, read_sidecars
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import find_checkpoint, run_folder

_PICTURES = ("step", "val_restored", "denoise", "worst")
"""The series of pictures that show a model best, in this order."""


class Figure(NamedTuple):
    """A figure of an evaluation: its `name`, its `value`, and the data, the number of images and the features `on`
    which it was computed."""

    name: str
    value: float
    on: str


@dataclass(frozen=True)
class Facts:
    """The facts of a model card.

    Args:
        figures: Figures of validation, test and evaluation.
        environment: Versions, git state, hardware and precision of the run; empty if unknown.
        timing: Seconds of training by name; empty if unknown.
        picture: A PNG file of samples or results; None if the run has none.
    """

    figures: list[Figure] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    picture: bytes | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Facts:
        """The facts of a checkpoint that was read from a file."""
        figures, path = _of_validation(checkpoint), Path(checkpoint.source)
        folder = run_folder(path)
        if path.suffix == ".safetensors" or not (folder / "metrics.csv").is_file():
            return cls(figures)
        found = read_sidecars(folder)
        later = _written_later(path, folder)
        current = {name: value for name, value in found.items() if f"{name}.json" in later}
        return cls(
            [*figures, *_of_stages(current, checkpoint), *_of_evaluation(current.get("evaluation", {}), path)],
            found.get("environment", {}),
            found.get("timing", {}),
            _picture(folder),
        )


def _of_validation(checkpoint: Checkpoint) -> list[Figure]:
    """The figures of the validation stored in the checkpoint."""
    step, n = checkpoint.figures.get("step"), checkpoint.split_sizes.get("val")
    images = "validation images" if n is None else f"{n:,} validation images"
    return [
        Figure(name, value, f"{_features_in_training(name, checkpoint)}{images}, at step {step:,}")
        for name, value in sorted(checkpoint.figures.get("values", {}).items())
        if _is_number(value)
    ]


def _features_in_training(name: str, checkpoint: Checkpoint) -> str:
    """The features of a metric of samples, from the recipe's callback `evaluation`."""
    for callback in checkpoint.recipe.get("callbacks") or []:
        if isinstance(callback, dict) and callback.get("name") == "evaluation" and name.endswith(f"_{_n(callback)}"):
            features = callback.get("features")
            run = features.get("from", features.get("name")) if isinstance(features, dict) else features
            return f"samples: {callback.get('n')}, features: {'pixels' if features is None else run}; "
    return ""


def _n(callback: dict[str, Any]) -> str:
    from genmods.metrics.base import count_name

    n = callback.get("n")
    return count_name(n) if isinstance(n, int) else ""


def _written_later(checkpoint: Path, folder: Path) -> set[str]:
    """The JSON files of a run folder that are newer than the checkpoint, if it is the one that evaluations take."""
    try:
        if not find_checkpoint(folder).samefile(checkpoint):
            return set()
        time = checkpoint.stat().st_mtime_ns
        return {path.name for path in folder.glob("*.json") if path.stat().st_mtime_ns >= time}
    except (OSError, ValueError):
        return set()


def _of_stages(found: dict[str, Any], checkpoint: Checkpoint) -> list[Figure]:
    """The figures of `genmods validate` and `genmods test`."""
    figures = []
    for stage, split in (("validate", "validation"), ("test", "test")):
        result = found.get(stage, {})
        data = "" if result.get("data_hash") == checkpoint.data_hash else f" of the data {result.get('data_hash')}"
        for name, value in result.get("figures", {}).items():
            if _is_number(value):
                figures.append(Figure(name, value, f"{counted(result['images'], f'{split} image')}{data}"))
    return figures


def _of_evaluation(found: dict[str, Any], checkpoint: Path) -> list[Figure]:
    """The figures of `genmods evaluate`."""
    if Path(str(found.get("checkpoint"))).name != checkpoint.name:
        return []
    on = f"samples: {found.get('n')}, features: {found.get('features') or 'none'}"
    if found.get("data"):
        on += f", data: {found['data']}"
    return [Figure(f["name"], f["value"], on) for f in found.get("figures", []) if _is_number(f["value"])]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _picture(folder: Path) -> bytes | None:
    """The newest picture of the first series that a run has."""
    for series in _PICTURES:
        files = sorted((folder / "samples").glob(f"{series}_[0-9]*.png"))
        content = read_inside(folder, files[-1], MAX_PICTURE_BYTES) if files else None
        if content and content.startswith(b"\x89PNG\r\n\x1a\n"):
            return content
    return None
