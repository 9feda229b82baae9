"""`genmods average`: averages the weights of a run over its training, or of several runs, and writes them to a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from genmods.runs.checkpoint import Checkpoint


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="runs or checkpoints of the same network")
    text = "the average of this length of each run, a share of its training such as 0.07 (callback power_ema)"
    add("--ema", type=float, metavar="LENGTH", help=text)
    add("--out", required=True, type=Path, metavar="FILE.safetensors", help="output file, for every --ckpt_path")


def run(options: argparse.Namespace) -> None:
    if options.out.suffix != ".safetensors":
        raise UserError(f"--out must end in .safetensors, got {options.out}")
    if len(options.runs) == 1 and options.ema is None:
        raise UserError("average needs several runs, or one run and --ema")
    from genmods.runs.averages import soup
    from genmods.runs.export.file import export

    result = soup([checkpoint(run, options.ema) for run in options.runs])
    export(result, options.out)
    say(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


def checkpoint(run: str, length: float | None) -> Checkpoint:
    """The checkpoint of a run, or its average of `length`, whose number of snapshots and error are printed."""
    from genmods.runs.averages import averaged
    from genmods.runs.checkpoint import Checkpoint
    from genmods.runs.folders import find_checkpoint

    if length is None:
        return Checkpoint.read(find_checkpoint(run))
    try:
        read, found = averaged(run, length)
    except UserError as error:
        raise UserError(f"--ema: {error}") from None
    say(str(found), file=sys.stderr)
    return read
