"""Runs on the disk: where they lie, which checkpoint of one is meant, and how a task comes back from it.

runs/<recipe>/<time>/{recipe.yaml, metrics.csv, checkpoints/{last,best}.ckpt, samples/, report.html}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.core.errors import UserError

if TYPE_CHECKING:
    from genmods.config.recipe import Recipe
    from genmods.tasks.base import Task

ROOT = Path("runs")


@contextmanager
def new_folder(name: str) -> Iterator[Path]:
    """The folder of a new run of the recipe `name`: made on rank 0, so that no other run takes it, and removed at the
    end where it is still empty."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    first = folder = ROOT / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    make, copies = rank_zero_only(_make, default=True), 1
    while not make(folder):
        copies += 1
        folder = first.with_name(f"{first.name}~{copies}")
    try:
        yield folder
    finally:
        with suppress(OSError):  # it is not empty
            rank_zero_only(os.removedirs)(folder)


def _make(folder: Path) -> bool:
    """Whether there was no such folder yet."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def newest_folder(name: str) -> Path:
    """The folder of the newest run of the recipe `name` that has a checkpoint; raises UserError where there is none."""
    newest = _newest(ROOT / name)
    if newest is None:
        raise UserError(f"--ckpt_path last: there is no run of '{name}' with a checkpoint under {ROOT / name}")
    return newest


def _newest(folder: Path) -> Path | None:
    found = [path.parent.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/checkpoints/last.ckpt")]
    return max(found, key=lambda run: run.name, default=None)


def find_checkpoint(path: str | Path, prefer: str = "best") -> Path:
    """The checkpoint that `path` means: a file, or in a run folder `best.ckpt` where there is one, else `last.ckpt`.

    A folder of runs, such as runs/ddpm, means the newest of them, and "last" the newest of all under runs. Raises
    UserError where there is none.
    """
    if str(path) == "last":
        path = ROOT
    if str(path).startswith("wandb:"):
        from genmods.tracking.wandb import download_checkpoint

        reference = str(path).removeprefix("wandb:")
        return download_checkpoint(reference, ROOT / "wandb" / reference.rsplit("/", 1)[-1].replace(":", "-"))
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: there is no such checkpoint or run folder")
    for name in dict.fromkeys((prefer, "best", "last")):
        for folder in (path / "checkpoints", path):
            if (folder / f"{name}.ckpt").is_file():
                return folder / f"{name}.ckpt"
    if newest := _newest(path):
        return find_checkpoint(newest, prefer)
    raise UserError(f"{path}: this folder holds no checkpoint, neither best.ckpt nor last.ckpt")


def run_folder(checkpoint: Path) -> Path:
    """The run folder in which a checkpoint file lies."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


@dataclass
class Place:
    """Where a run lives, and the checkpoint that it starts from."""

    folder: Path
    checkpoint: Path | None


@contextmanager
def place(recipe: Recipe, ckpt_path: str | None, prefer: str) -> Iterator[Place]:
    """A new folder, or the folder of the run that is continued. Raises UserError where there is no such run.

    Of the folders that the ranks of a new run choose, rank 0's is made and written to.
    """
    if ckpt_path is None:
        with new_folder(recipe.name) as folder:
            yield Place(folder, None)
    else:
        source = newest_folder(recipe.name) if ckpt_path == "last" else ckpt_path
        checkpoint = find_checkpoint(source, prefer)
        yield Place(run_folder(checkpoint), checkpoint)


def load(path: str | Path, raw: bool = False) -> Task:
    """The task of a run, in eval mode on the CPU, with its averaged (EMA) weights, or the `raw` ones.

    `path` is a checkpoint file, a run folder or an exported model. Raises UserError where it is none of genmods.
    """
    return restore(read(find_checkpoint(path)), raw)


def read(path: Path) -> dict[str, Any]:
    """What a checkpoint file or an exported model holds, for `restore`."""
    from genmods.core import checkpoint as files
    from genmods.runs import export

    return export.read(path) if path.suffix == ".safetensors" else files.load(path)


def restore(checkpoint: dict[str, Any], raw: bool = False) -> Task:
    """The task in a checkpoint that was read already; see `load`.

    Raises UserError where its tensors are not those of the task that its recipe builds.
    """
    from genmods.callbacks.ema import apply_average
    from genmods.config.build import build
    from genmods.networks.adapters.classifier import without_pretrained

    with without_pretrained():
        task: Task = build(recipe_of(checkpoint).task, checkpoint["facts"])
    state = checkpoint["state_dict"]
    task.load_state_dict(state if raw else apply_average(state, checkpoint))
    return task.eval()


def recipe_of(checkpoint: dict[str, Any], *more: str, overrides: Iterable[str] = ()) -> Recipe:
    """What a checkpoint's recipe says of task and data, and of `more` sections; raises UserError where there is none.

    `overrides` are `--key=value`, as on the command line. How it was trained is left out, as a rule: a model stays
    usable where a trainer or a logger has changed since.
    """
    from genmods.config.recipe import from_plain

    if "recipe" not in checkpoint:
        raise UserError("the checkpoint holds no recipe; it was not written by `fit`")
    sections = ("name", "seed", "task", "data", *more)
    return from_plain({section: checkpoint["recipe"][section] for section in sections}, overrides)
