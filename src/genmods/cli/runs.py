"""`genmods runs [FOLDER]`: lists the run folders below a folder, with their main metrics."""

from __future__ import annotations

import argparse
from pathlib import Path

from genmods.core.places import runs_folder
from genmods.core.printable import printable, say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", nargs="?", default=runs_folder(), metavar="FOLDER", help="folder to search (default: runs)"
    )


def run(options: argparse.Namespace) -> None:
    from genmods.core.errors import UserError
    from genmods.report.folder import find_runs
    from genmods.report.seeds import by_seed

    found = find_runs(Path(options.folder))
    if not found:
        raise UserError(f"no run found below {options.folder}")
    paths = [printable(each.path) for each in found]
    width = max(map(len, paths))
    for path, each in zip(paths, found, strict=True):
        figures = ", ".join(f"{figure['name']} {figure['best']:.4g}" for figure in each.figures()[:4])
        say(f"{path:<{width}}  {each.steps:>8} steps  {figures}".rstrip())
    for group in by_seed(found):
        figures = ", ".join(f"{spread.name} {spread}" for spread in group.spreads("best")[:4])
        say(f"{group.name}, seeds {', '.join(group.seeds)} (mean ± standard deviation): {figures}")
