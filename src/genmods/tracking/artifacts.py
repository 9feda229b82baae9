"""Checkpoints as artifacts of Weights & Biases: `model-ID` with the file `model.ckpt`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from genmods.core.errors import UserError
from genmods.core.limits import shown
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
    """
    import wandb

    if not _REFERENCE.fullmatch(reference):
        raise UserError(f"wandb:{shown(reference)}: must be ENTITY/PROJECT/NAME:ALIAS")
    if reason := why_unreachable(wandb.setup().settings.base_url):
        raise UserError(f"wandb:{reference}: {reason}")
    try:
        entry = wandb.Api(timeout=30).artifact(reference, type="model").get_entry(_FILE)
        if entry.ref is not None:
            raise UserError(f"wandb:{reference}: {_FILE} must be a file of the artifact, got a reference")
        return Path(entry.download(root=str(folder)))
    except KeyError:
        raise UserError(f"wandb:{reference}: the artifact has no file {_FILE}") from None
    except UserError:
        raise
    except (wandb.Error, ValueError) as error:
        raise UserError(f"wandb:{reference}: {str(error).splitlines()[0]}") from None
