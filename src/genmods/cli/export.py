"""`genmods export`: exports a trained model, for genmods or in the format of another program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.cli import model_options
from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from genmods.runs.checkpoint import Checkpoint

SUFFIXES = {"file": ".safetensors", "folder": ""}
"""Format -> how the output path ends."""


def arguments(parser: argparse.ArgumentParser) -> None:
    model_options.checkpoint(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="PATH", help="a file NAME.safetensors, or a folder")
    parser.add_argument("--to", choices=tuple(SUFFIXES), help="the format (default: by the ending of PATH)")
    parser.add_argument("--raw", action="store_true", help="export the raw weights instead of the EMA weights")
    text = "licence of the weights, for the model card of a folder: an identifier such as apache-2.0"
    parser.add_argument("--license", default="unknown", metavar="L", help=text)
    text = "upload the folder to the Hugging Face Hub; a new repository is private"
    parser.add_argument("--push", metavar="ORG/NAME", help=text)


def run(options: argparse.Namespace) -> None:
    target = _format(options)
    if options.push and target != "folder":
        raise UserError(f"--push uploads a folder, got the format {target}")
    from genmods.runs.checkpoint import Checkpoint
    from genmods.runs.folders import find_checkpoint

    checkpoint = Checkpoint.read(find_checkpoint(options.ckpt_path))
    for path in _written(target, checkpoint, options):
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _format(options: argparse.Namespace) -> str:
    """The requested format. Raises UserError if the output path has another suffix."""
    found = next((name for name, suffix in SUFFIXES.items() if suffix == options.out.suffix), None)
    target = options.to or found
    if target is None:
        endings = " or ".join(filter(None, SUFFIXES.values()))
        raise UserError(f"--out must end in {endings}, or name a folder, got {options.out}")
    if SUFFIXES[target] and options.out.suffix != SUFFIXES[target]:
        raise UserError(f"--out must end in {SUFFIXES[target]}, got {options.out}")
    if not SUFFIXES[target] and options.out.is_file():
        raise UserError(f"--out must name a folder, got the file {options.out}")
    return target


def _written(target: str, checkpoint: Checkpoint, options: argparse.Namespace) -> list[Path]:
    """Export the checkpoint; returns the files."""
    if target == "file":
        from genmods.runs.export.file import export

        export(checkpoint, options.out, options.raw)
        return [options.out]
    from genmods.runs import hub
    from genmods.runs.export.folder import export_folder

    where = f"{hub.PREFIX}{options.push.removeprefix(hub.PREFIX)}" if options.push else None
    files = export_folder(checkpoint, options.out, options.raw, options.license, where)
    if options.push:
        say(f"pushed: {hub.push(files, options.push)}", file=sys.stderr)
    return files
