"""`genmods cache`: what the cache folder contains, and removal of its parts."""

from __future__ import annotations

import argparse
import shutil
from contextlib import suppress
from pathlib import Path

from genmods.core.atomic import cache
from genmods.core.printable import counted, say

PARTS = {
    "images": "decoded images",
    "datasets": "Parquet files as read by `datasets`",
    "generated": "samples of runs, as training data",
    "statistics": "reference statistics of metrics",
    "data": "downloaded data sets",
}
_COMPUTED = ("images", "datasets", "generated", "statistics")


def arguments(parser: argparse.ArgumentParser) -> None:
    text = f"remove these parts (default: {', '.join(_COMPUTED)}), which are made again when they are needed"
    parser.add_argument("--clear", nargs="*", choices=[*PARTS], metavar="PART", help=text)


def run(options: argparse.Namespace) -> None:
    if options.clear is not None:
        for part in options.clear or _COMPUTED:
            count, size = contents(cache(part))
            if count:
                shutil.rmtree(cache(part))
            say(f"removed {_amount(count, size)} from {cache(part)}")
        return
    say(cache())
    for part, meaning in PARTS.items():
        say(f"{part:<11}{_amount(*contents(cache(part))):>24}  {meaning}")


def contents(folder: Path) -> tuple[int, int]:
    """The number of files in a folder at any depth, and their size in bytes on the disk."""
    count = size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # removed meanwhile
            state = path.lstat()
            if path.is_file():
                count, size = count + 1, size + getattr(state, "st_blocks", -(-state.st_size // 512)) * 512
    return count, size


def _amount(count: int, size: int) -> str:
    return f"{counted(count, 'file')}, {size / 1e6:,.1f} MB"
