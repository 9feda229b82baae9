"""Checkpoints as artifacts of Weights & Biases: `model-ID` with the file `model.ckpt`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genmods.core.errors import UserError, first_line
from genmods.core.limits import shown
from genmods.core.system import FullDisk, free
from genmods.tracking.probe import why_unreachable

_REFERENCE = re.compile(r"((?!\.+/)[^/\\#?%:\x00-\x1f]+/){0,2}(?!\.+(:|$))[^/\\#?%:\x00-\x1f]+(:[^/:\x00-\x1f]+)?")
"""The name of an artifact, ENTITY/PROJECT/NAME:ALIAS."""
_FILE = "model.ckpt"
"""The file of such an artifact."""


def checkpoint_artifact(checkpoint: Path, run_id: str, step: int) -> Any:
    """The artifact of a checkpoint file, not yet published.

    Args:
        checkpoint: The file.
        run_id: The W&B run that trained it.
        step: The step of the run.
    """
    import wandb

    metadata = {"step": step, "file": checkpoint.name}
    artifact = wandb.Artifact(f"model-{run_id}", type="model", metadata=metadata)
    artifact.add_file(str(checkpoint.resolve()), name=_FILE, policy="immutable")
    return artifact


def remove_superseded(versions: Iterable[Any]) -> None:
    """Delete the versions of a model artifact that no longer have an alias, neither ours nor the user's."""
    for version in versions:
        if not version.aliases:
            version.delete()


def download_checkpoint(reference: str, folder: Path) -> Path:
    """Download the checkpoint of an artifact `entity/project/model-ID:alias` to `folder`, and no other file of it.

    Raises:
        UserError: If this fails, or if the artifact refers to a file elsewhere, such as on this machine.
        OSError: If the file cannot be written, or does not fit on the disk.
    """
    import wandb

    if not _REFERENCE.fullmatch(reference):
        raise UserError(f"wandb:{shown(reference)}: must be ENTITY/PROJECT/NAME:ALIAS")
    if reason := why_unreachable(wandb.setup().settings.base_url):
        raise UserError(f"wandb:{reference}: {reason}")
    with _one_line(reference):
        try:
            entry = wandb.Api(timeout=30).artifact(reference, type="model").get_entry(_FILE)
        except KeyError:
            entry = None
        if entry is None or entry.path != _FILE:  # `get_entry` also finds `model.ckpt.table.json`
            raise UserError(f"wandb:{reference}: the artifact has no file {_FILE}")
        if entry.ref is not None:
            raise UserError(f"wandb:{reference}: {_FILE} must be a file of the artifact, got a reference")
        target = folder / _FILE
        if os.path.lexists(target) and not stat.S_ISREG(target.lstat().st_mode):
            raise UserError(f"{target}: must be a regular file, got a link, folder or device; remove it")
        if (room := free(target)) and (entry.size or 0) > room[0]:
            raise FullDisk(target, entry.size)
        return Path(entry.download(root=str(folder)))


@contextmanager
def _one_line(reference: str) -> Iterator[None]:
    """Context that turns all errors of the client, such as those of an unexpected manifest, into one line each."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"wandb:{reference}: cannot be downloaded: {first_line(error)}") from error
