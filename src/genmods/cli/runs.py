"""`genmods runs [FOLDER]`: the run folders under a folder, with their main figures."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default="runs", metavar="FOLDER", help="where to look (default: runs)")


def run(options: argparse.Namespace) -> None:
    from genmods.core.errors import UserError
    from genmods.report.folder import find_runs

    found = find_runs(Path(options.folder))
    if not found:
        raise UserError(f"there is no run under {options.folder}")
    width = max(len(str(each.path)) for each in found)
    for each in found:
        figures = ", ".join(f"{figure['name']} {figure['best']:.4g}" for figure in each.figures()[:4])
        print(f"{each.path!s:<{width}}  {each.steps:>8} steps  {figures}".rstrip())
