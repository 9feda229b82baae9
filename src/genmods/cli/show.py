"""`genmods show KIND NAME`: shows a part's description, its settings and a snippet for a recipe."""

from __future__ import annotations

import argparse
import ast
from copy import deepcopy

from genmods.config import hints, registry
from genmods.config.builtins import KINDS
from genmods.config.check import UNKNOWN, default
from genmods.config.parts import PARTIAL_KINDS, PROVIDED, allowed
from genmods.config.reflect import Module, Setting, docstring, dotted, lookup
from genmods.config.text import Node, plain, write
from genmods.core.limits import is_from_data
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
        say(f"  {_line(setting)}")
    if entry.kind in PARTIAL_KINDS:
        say(f"  (set by the task: {' and '.join(PROVIDED[entry.kind])})")
    say("", "in a recipe:")
    say(*(f"  {line}" for line in _snippet(entry.kind, entry.name, known).splitlines()))


def _line(setting: Setting) -> str:
    alternatives = hints.of(setting)
    hint = f": {ast.unparse(_Plain(setting.module).visit(deepcopy(setting.hint)))}" if setting.hint else ""
    start = f" = {ast.unparse(setting.default)}" if setting.default else ""
    notes = [hints.limits_in_words(alternatives)]
    if is_from_data(alternatives):
        notes.append("from the data unless set")
    elif not setting.default:
        notes.append("required")
    note = "; ".join(filter(None, notes))
    return f"{setting.name}{hint}{start}" + (f"   # {note}" if note else "")


class _Plain(ast.NodeTransformer):
    """A hint without aliases and limits: `int` for `Annotated[int, ...]`."""

    def __init__(self, module: Module):
        self.module = module

    def visit_Name(self, node: ast.Name) -> ast.expr:
        found = lookup(self.module, node.id)
        alias = found is not None and not isinstance(found.value, ast.ClassDef)
        return _Plain(found.module).visit(deepcopy(found.value)) if found and alias else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if dotted(node.value).rpartition(".")[2] == "Annotated" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[0])
        return self.generic_visit(node)  # type: ignore[return-value]


def _snippet(kind: str, name: str, known: dict[str, Setting]) -> str:
    values: dict[str, object] = {"name": name}
    for setting in known.values():
        standard = default(setting) if setting.default else "..."
        if standard is not UNKNOWN and not is_from_data(hints.of(setting)):
            values[setting.name] = plain(standard) if isinstance(standard, Node) else standard
    section = "callbacks" if kind == "callback" else kind
    return write({section: [values] if kind == "callback" else values})
