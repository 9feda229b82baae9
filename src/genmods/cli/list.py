"""`genmods list [KIND]`: lists the registered parts."""

from __future__ import annotations

import argparse

from genmods.config import registry
from genmods.config.builtins import KINDS
from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help="one of " + ", ".join(KINDS))


def run(options: argparse.Namespace) -> None:
    if options.kind:
        _one(options.kind)
        return
    width = max(map(len, KINDS)) + 2
    for kind in KINDS:
        say(f"{kind:<{width}}{', '.join(registry.names(kind)) or '-'}")


def _one(kind: str) -> None:
    from genmods.config.reflect import summary

    entries = registry.entries(kind)
    width = max(map(len, entries), default=0) + 2
    for name in sorted(entries):
        entry = entries[name]
        origin = "" if entry.origin == "genmods" else f"  ({entry.origin})"
        say(f"{name:<{width}}{summary(entry.target)}{origin}".rstrip())
