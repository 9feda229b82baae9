"""Run folders on disk, their checkpoints, and loading of trained models.

runs/<recipe>/<time>/{recipe.yaml, metrics.csv, checkpoints/{last,best}.ckpt, samples/, report.html}
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from genmods.core.errors import UserError
from genmods.core.places import kept_checkpoints, runs_folder
from genmods.core.printable import counted, say
from genmods.report.sidecars import read_inside
from genmods.runs import hub
from genmods.runs.config_file import WEIGHTS

LAST = Path("checkpoints", "last.ckpt")
_WRITTEN = ("checkpoints", "samples", "snapshots", "tensorboard", "wandb", "metrics.csv", "recipe.yaml", "report.html")


@contextmanager
def new_folder(name: str) -> Iterator[Path]:
    """Context with the folder of a new run of the recipe `name`.

    It is created on rank 0, so that no other run uses it, and removed at the end if it is still empty.
    """
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    first = folder = runs_folder() / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
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
    """Create a folder; returns whether it did not exist."""
    if broken := next((path for path in folder.parents if path.is_symlink() and not path.exists()), None):
        raise UserError(f"{broken}: a symbolic link to a folder that does not exist")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def newest_folder(name: str) -> Path:
    """The folder of the newest run of the recipe `name` with a checkpoint; raises UserError if there is none."""
    newest = _newest(runs_folder() / name)
    if newest is None:
        raise UserError(f"no run of '{name}' with a checkpoint below {runs_folder() / name}")
    return newest


def _newest(folder: Path) -> Path | None:
    """The run below `folder` with the newest `last.ckpt`."""
    return next(iter(_newest_first(folder)), None)


def _newest_first(folder: Path) -> list[Path]:
    """The runs below `folder`, the one with the newest `last.ckpt` first."""
    return sorted(_runs(folder), key=lambda run: (run / LAST).stat().st_mtime_ns, reverse=True)


def _runs(folder: Path) -> list[Path]:
    return [path.parent.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{LAST}")]


def requeued(name: str, recipe: str) -> str | None:
    """The unfinished run of the recipe `name` that this SLURM job started with the same `recipe` text."""
    job = os.environ.get("SLURM_JOB_ID")
    for run in _newest_first(runs_folder() / name) if job else ():
        if _is_of(run, recipe, job) and status(run)[0] != "finished":
            say(f"SLURM job {job} resumes {run}", file=sys.stderr)
            return str(run)
    return None


def finished(name: str, recipe: str, anyone: bool) -> Path | None:
    """The newest finished run of the recipe `name` with the same `recipe` text, by `anyone` or by this SLURM job."""
    job = None if anyone else os.environ.get("SLURM_JOB_ID")
    for run in _newest_first(runs_folder() / name) if anyone or job else ():
        if _is_of(run, recipe, job) and status(run)[0] == "finished":
            return run
    return None


def _is_of(run: Path, recipe: str, job: str | None) -> bool:
    """Whether a run has this recipe and, unless None, was started by this SLURM job."""
    try:
        same = (read_inside(run, run / "recipe.yaml") or b"").decode() == recipe
    except ValueError:
        return False
    return same and (job is None or _reads(run, "environment.json", "slurm_job") == job)


def status(run: Path) -> tuple[str, int]:
    """The state of a run, "running" (also if it was killed), "stopped", "failed", "out of time" or
    "finished", and its step."""
    step = _reads(run, "status.json", "step")
    return str(_reads(run, "status.json", "state")), step if type(step) is int else 0


def write_status(run: Path, state: str, step: int) -> None:
    """Write the `status` of a run, on rank 0."""
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    from genmods.tracking.base import write_json

    rank_zero_only(write_json)(run / "status.json", {"state": state, "step": step})


def _reads(run: Path, file: str, key: str) -> Any:
    try:
        return json.loads(read_inside(run, run / file) or b"{}").get(key)
    except (ValueError, RecursionError, AttributeError):
        return None


def find_checkpoint(path: str | Path, prefer: str = "best") -> Path:
    """The checkpoint for `path`: a file, or in a run folder `best.ckpt` if it exists, otherwise `last.ckpt`.

    A folder of runs, such as runs/ddpm, refers to its newest run, "last" to the newest of all runs, an exported folder
    to its `model.safetensors`, "hf:ORG/NAME@REVISION" to a model on the hub. Only "hf:" and "wandb:" are looked up
    online. Raises UserError if there is no checkpoint.
    """
    if str(path) == "last":
        path = runs_folder()
    if str(path).startswith("wandb:"):
        from genmods.tracking.artifacts import download_checkpoint

        reference = str(path).removeprefix("wandb:")
        return download_checkpoint(reference, runs_folder() / "wandb" / reference.rsplit("/", 1)[-1].replace(":", "-"))
    if str(path).startswith(hub.PREFIX):
        return hub.pull(str(path))
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: no such checkpoint or run folder")
    if candidates := _candidates(path, prefer):
        return _first_readable(path, candidates, prefer)
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    if newest := _newest(path):
        return find_checkpoint(newest, prefer)
    raise UserError(f"{path}: no checkpoint in this folder, neither best.ckpt nor last.ckpt")


def _candidates(run: Path, prefer: str) -> list[Path]:
    """The checkpoints of a run in the order in which they are tried: `prefer` "best" or "last", then older ones.

    A run resumes from `best.ckpt` only if it has no other one.
    """
    for folder in (run / "checkpoints", run):
        kept = reversed(kept_checkpoints(folder))
        named = [folder / f"{name}.ckpt" for name in (("last",) if prefer == "last" else ("best", "last"))]
        found = [path for path in (*named, *kept) if path.is_file()]
        if not found and (folder / "best.ckpt").is_file():
            return [folder / "best.ckpt"]
        if found:
            return found
    return []


def _first_readable(run: Path, candidates: list[Path], prefer: str) -> Path:
    """The first readable checkpoint; damaged ones are listed on stderr. Raises UserError if all are damaged."""
    faults: list[str] = []
    for path in candidates:
        try:
            step = _step_of(path)
        except UserError as error:
            faults.append(str(error))
            continue
        if faults and os.environ.get("LOCAL_RANK", "0") == "0":
            behind = last_logged(run) - step if prefer == "last" else 0
            lost = f"; {counted(behind, 'step')} {'is' if behind == 1 else 'are'} lost" if behind > 0 else ""
            say(*faults, f"{path} of step {step} is used instead{lost}", file=sys.stderr)
        return path
    others = [run / "checkpoints" / "best.ckpt", *(other / LAST for other in _newest_first(run.parent) if other != run)]
    for other in (path for path in others if path not in candidates and path.is_file()):
        try:
            step = _step_of(other)
        except UserError:
            continue
        raise UserError(f"{faults[0]}; {other} of step {step} is readable")
    raise UserError(faults[0])


def _step_of(path: Path) -> int:
    """The step of a checkpoint. Raises UserError if it cannot be read."""
    from genmods.runs.checkpoint import Checkpoint

    return Checkpoint.read_ahead(path).step


def last_logged(run: Path) -> int:
    """The step after the last row of a run's metrics, 0 without one."""
    from genmods.tracking.series import read_metrics

    rows = read_metrics(run / "metrics.csv")
    return int(rows[-1]["step"]) + 1 if rows else 0


def refuse_links(run: Path) -> None:
    """Raises UserError if a file or folder that a fit writes to is a symbolic link out of the run folder."""
    for name in (*_WRITTEN, *(path.name for path in run.glob("*.json"))):
        path = run / name
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(run.resolve()):
            raise UserError(f"{path}: a symbolic link out of the run folder; nothing is written through it")


def run_folder(checkpoint: Path) -> Path:
    """The run folder of a checkpoint file."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


@dataclass
class Place:
    """The folder of a run, and the checkpoint from which it starts."""

    folder: Path
    checkpoint: Path | None


@contextmanager
def place(name: str, ckpt_path: str | None, prefer: str) -> Iterator[Place]:
    """A new folder for a run of the recipe `name`, or the folder of the run to resume; "auto" is the newest, if any.

    All ranks of a new run use the folder of rank 0. Raises UserError if there is no run to resume.
    """
    if ckpt_path == "auto":
        ckpt_path = "last" if _newest(runs_folder() / name) else None
    if ckpt_path is None:
        with new_folder(name) as folder:
            yield Place(folder, None)
    else:
        source = newest_folder(name) if ckpt_path == "last" else ckpt_path
        checkpoint = find_checkpoint(source, prefer)
        yield Place(run_folder(checkpoint), checkpoint)


def load(path: str | Path, raw: bool = False) -> Any:
    """The model of a run, in eval mode on the CPU, with its averaged (EMA) weights, or the `raw` ones.

    Args:
        path: A checkpoint file, a run folder, an exported model, its file or its folder, or `hf:ORG/NAME@REVISION`.
        raw: Whether to use the raw weights instead of the averaged ones.

    Raises:
        UserError: If `path` was not written by genmods.
    """
    from genmods.runs.checkpoint import Checkpoint

    return Checkpoint.read(find_checkpoint(path)).model(raw)
