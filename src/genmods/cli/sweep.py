"""`genmods sweep SWEEP.yaml`: trains the runs of a sweep one after the other; the same command continues it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from genmods.core.errors import UserError
from genmods.core.places import runs_folder
from genmods.core.printable import counted, printable, say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sweep", metavar="SWEEP", type=Path, help="a sweep file in W&B's format, method grid or random")
    parser.add_argument("--count", type=int, metavar="N", help="the largest number of runs (default: run_cap)")
    parser.add_argument("--seed", type=int, default=0, help="seed of random settings (default: 0)")


def run(options: argparse.Namespace) -> None:
    from genmods.config.sweep import read_sweep

    if options.count is not None and options.count < 1:
        raise UserError(f"--count must be at least 1, got {options.count}")
    sweep = read_sweep(options.sweep)
    trials = sweep.trials(options.count, options.seed)
    from genmods.callbacks.stopping import Stopped
    from genmods.runs.fit import fit
    from genmods.runs.sweep import run_sweep, table, write_table

    try:
        results = run_sweep(sweep, trials, fit)
    except Stopped:
        say("stopped; the same command continues the sweep", file=sys.stderr)
        raise
    rows, path = table(sweep, results), runs_folder() / f"{sweep.name}.csv"
    write_table(rows, path)
    widths = [max(len(printable(row[column])) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        say("  ".join(f"{printable(text):<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    say(f"written to {path}", file=sys.stderr)
    if failed := sum(found.folder is None for found in results):
        raise UserError(f"{failed} of {counted(len(results), 'run')} failed")
