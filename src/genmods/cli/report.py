"""`genmods report RUN [RUN ...]`: writes the report page of a run, or a page that compares several."""

from __future__ import annotations

import argparse
from pathlib import Path

from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run folder, or a folder of runs for its newest; several are compared"
    )
    parser.add_argument("--out", metavar="FILE.html", help="output file (default: report.html in the first run folder)")


def run(options: argparse.Namespace) -> None:
    from genmods.report.folder import newest_run
    from genmods.report.page import write_report

    say(write_report([newest_run(Path(folder)) for folder in options.runs], Path(options.out) if options.out else None))
