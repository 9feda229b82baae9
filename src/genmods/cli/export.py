"""`genmods export`: exports a trained model as one safetensors file, which all commands except `fit` accept."""

from __future__ import annotations

import argparse
from pathlib import Path

from genmods.cli import model_options
from genmods.core.errors import UserError
from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    model_options.checkpoint(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.safetensors", help="output file")
    parser.add_argument("--raw", action="store_true", help="export the raw weights instead of the EMA weights")


def run(options: argparse.Namespace) -> None:
    if options.out.suffix != ".safetensors":
        raise UserError(f"--out must end in .safetensors, got {options.out}")
    from genmods.runs.checkpoint import Checkpoint
    from genmods.runs.export import export
    from genmods.runs.folders import find_checkpoint

    export(Checkpoint.read(find_checkpoint(options.ckpt_path)), options.out, options.raw)
    say(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")
