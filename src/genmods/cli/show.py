"""`genmods show KIND NAME`: shows a part's description, its settings and a snippet for a recipe."""

from __future__ import annotations

import argparse
import ast

from genmods.config import registry
from genmods.config.builtins import KINDS
from genmods.config.check import FILLED, UNKNOWN, allowed, default, is_fact
from genmods.config.reflect import Setting, docstring
from genmods.config.text import Node, plain, write
from genmods.core.printable import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", help="one of " + ", ".join(KINDS))
    parser.add_argument("name", metavar="NAME", help="a name from `genmods list KIND`")


def run(options: argparse.Namespace) -> None:
    entry = registry.find(options.kind, options.name)
    say(f"{entry.kind} '{entry.name}': {entry.target} of {entry.origin}", "")
    if text := docstring(entry.target):
        say(*text.splitlines(), "")
    known = allowed(entry)
    say("settings:" if known else "no settings")
    for setting in known.values():
        say(f"  {_line(setting, is_fact(entry.kind, setting.name))}")
    if entry.kind in FILLED:
        say(f"  (set by the task: {' and '.join(FILLED[entry.kind])})")
    say("", "in a recipe:")
    say(*(f"  {line}" for line in _snippet(entry.kind, entry.name, known).splitlines()))


def _line(setting: Setting, fact: bool) -> str:
    hint = f": {ast.unparse(setting.hint)}" if setting.hint else ""
    start = f" = {ast.unparse(setting.default)}" if setting.default else ""
    note = "   # from the data unless set" if fact else "" if setting.default else "   # required"
    return f"{setting.name}{hint}{start}{note}"


def _snippet(kind: str, name: str, known: dict[str, Setting]) -> str:
    values: dict[str, object] = {"name": name}
    for setting in known.values():
        standard = default(setting) if setting.default else "..."
        if standard is not UNKNOWN and not is_fact(kind, setting.name):
            values[setting.name] = plain(standard) if isinstance(standard, Node) else standard
    section = "callbacks" if kind == "callback" else kind
    return write({section: [values] if kind == "callback" else values})
