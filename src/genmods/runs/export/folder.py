"""Export of a model as a folder that people, the hub and `genmods.load` read."""

from __future__ import annotations

from pathlib import Path

from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.config_file import CONFIG, WEIGHTS, write_config
from genmods.runs.export.card import PICTURE, card
from genmods.runs.export.facts import Facts
from genmods.runs.export.file import export, header

CARD = "README.md"


def export_folder(
    checkpoint: Checkpoint, folder: Path, raw: bool = False, license: str = "unknown", where: str | None = None
) -> list[Path]:
    """Write `model.safetensors`, `config.json`, the model card `README.md` and, if the run has one, `samples.png`.

    Args:
        checkpoint: The checkpoint, as read from its file.
        folder: The folder, created if missing; files of an earlier export in it are replaced.
        raw: Whether to export the raw weights instead of the averaged ones.
        licence: Identifier of the licence of the weights for the card.
        where: The argument of `genmods.load` in the card's example; None: the folder's name.

    Returns:
        The files.

    Raises:
        UserError: If the folder is that of a run.
    """
    if (folder / "checkpoints").exists() or (folder / "metrics.csv").exists():
        raise UserError(f"{folder}: is a run folder; export to another one")
    facts = Facts.of(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    export(checkpoint, folder / WEIGHTS, raw)
    write_config(header(checkpoint), folder)
    contents = {CARD: card(checkpoint, facts, where or folder.name, license, raw).encode()}
    if facts.picture:
        contents[PICTURE] = facts.picture
    else:
        (folder / PICTURE).unlink(missing_ok=True)
    for name, content in contents.items():
        with replacing(folder / name) as staged:
            staged.write_bytes(content)
    return [folder / name for name in (WEIGHTS, CONFIG, *contents)]
