"""`genmods recipes`: lists the shipped recipes with the first line of their headers."""

from __future__ import annotations

import argparse

from genmods.config.shipped import shipped
from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(options: argparse.Namespace) -> None:
    known = shipped()
    width = max(map(len, known), default=0) + 2
    for name, path in known.items():
        with path.open(encoding="utf-8") as file:
            header = file.readline().strip()
        say(f"{name:<{width}}{header.lstrip('# ') if header.startswith('#') else ''}".rstrip())
