"""Strict YAML: parses text to a tree with file and line of every value, and writes it.

This is a subset of YAML: no anchors, aliases or tags, no duplicate keys, only strings as keys. Of plain scalars, only
`null`, `true`, `false` and decimal numbers (including `1e-3`) are converted; `010`, `12:30:45` and `on` remain text.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from genmods.core.errors import UserError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_VALUES = 10_000
MAX_NUMBER = 400
"""Maximum length of a number in characters; longer ones remain text."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DIGITS = r"(0|[1-9][0-9]*(_[0-9]+)*)"
_INT = re.compile(rf"[-+]?{_DIGITS}")
_FLOAT = re.compile(rf"[-+]?({_DIGITS}\.[0-9]*|\.[0-9]+|{_DIGITS}(?=[eE]))([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())}
_WORDS |= {".nan": float("nan"), ".inf": float("inf"), "-.inf": -float("inf")}
_BARE = re.compile(r"[A-Za-z/]([A-Za-z0-9_./ +@%-]*[A-Za-z0-9_./+@%-])?")
_QUOTED = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}  # words that some YAML readers convert


class RecipeError(UserError):
    """An error in a recipe, with the message `file:line: key.path: message`, and a line for each of the details."""

    def __init__(self, where: str, path: str, message: str, *details: str):
        super().__init__(": ".join(item for item in (where, path, message) if item), *details)


@dataclass(slots=True)
class Node:
    """A value of a recipe and its location.

    Attributes:
        value: A scalar, `dict[str, Node]` or `list[Node]`.
        where: The location.
        text: The characters of an unquoted scalar, or of an option, which a setting of text takes as they are.
        written: The text in which environment variables have been expanded.
        unresolved: Whether variables are left in it.
        fault: The error of an option that is not valid YAML; its value is its text.
    """

    value: Any
    where: str
    text: str | None = None
    written: str | None = None
    unresolved: bool = False
    fault: RecipeError | None = None


class Text(str):
    """A text with environment variables: expanded, as it is `written`, and whether some are `unresolved`."""

    written: str
    unresolved: bool

    @classmethod
    def of(cls, node: Node, text: str) -> str:
        """`text`, with how the node is written if it has variables."""
        if node.written is None:
            return text
        result = cls(text)
        result.written, result.unresolved = node.written, node.unresolved
        return result


def plain(node: Node) -> Any:
    """The tree as plain data, without locations."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def with_marks(value: Any, where: str) -> Node:
    """Plain data as a tree with the location `where`."""
    if isinstance(value, dict):
        return Node({str(key): with_marks(item, where) for key, item in value.items()}, where)
    if isinstance(value, list | tuple):
        return Node([with_marks(item, where) for item in value], where)
    return Node(os.fspath(value) if isinstance(value, os.PathLike) else value, where)


def scalar(text: str) -> Any:
    """The value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > MAX_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read(path: Path) -> Node:
    """The tree of a recipe file; raises RecipeError if it is not a valid file."""
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(name, "", f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise RecipeError(name, "", f"larger than {MAX_BYTES} bytes; not a recipe")
    try:
        return parse(data.decode(), name)
    except UnicodeDecodeError as error:
        raise RecipeError(name, "", "not text in UTF-8; not a recipe") from error


def parse(text: str, source: str, marks: bool = True) -> Node:
    """Parse YAML text; with `marks`, locations are `source:line`. Raises RecipeError."""
    reader = _Reader(text, source, marks)
    try:
        return reader.document()
    except UnicodeError:
        raise RecipeError(source, "", "not text in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        where = reader.where(mark) if mark else source
        raise RecipeError(where, "", f"is not valid YAML: {' '.join(str(problem).split())}") from error


class _Reader:
    """Builds the tree from the parser's events, so that nothing is expanded before it is validated."""

    def __init__(self, text: str, source: str, marks: bool):
        self.events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self.source, self.marks = source, marks
        self.values = 0

    def where(self, mark: Any) -> str:
        return f"{self.source}:{mark.line + 1}" if self.marks else self.source

    def document(self) -> Node:
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            if self.marks:
                raise RecipeError(self.source, "", "is empty")
            return Node(None, self.source)
        root = self.node(next(self.events), "", 0)
        next(self.events)
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise RecipeError(self.where(event.start_mark), "", "must contain one document, got more")
        return root

    def node(self, event: Any, path: str, depth: int) -> Node:
        where = self.where(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise RecipeError(where, path, "anchors and aliases (& and *) are not supported")
        if event.tag and event.tag != "!":
            raise RecipeError(where, path, f"the tag {event.tag} is not supported; use the names of registered parts")
        self.values += 1
        if self.values > MAX_VALUES:
            raise RecipeError(where, path, f"more than {MAX_VALUES:,} values; not a recipe")
        if depth > MAX_DEPTH:
            raise RecipeError(where, path[:40], f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self.mapping(path, depth), where)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(item, f"{path}[{len(items)}]", depth + 1))
            return Node(items, where)
        return Node(scalar(event.value), where, event.value) if event.implicit[0] else Node(event.value, where)

    def mapping(self, path: str, depth: int) -> dict[str, Node]:
        result: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            where = self.where(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent):
                raise RecipeError(where, path, "keys must be strings")
            key = event.value
            below = f"{path}.{key}" if path else key
            if key in result:
                raise RecipeError(where, below, f"duplicate key, first at {result[key].where}")
            result[key] = self.node(next(self.events), below, depth + 1)
            result[key].where = where  # the key's line: a block begins where it is named
        return result


def write(value: Any) -> str:
    """Plain data as YAML, which `parse` and other YAML readers read back as the same data."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: dict[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        name = _inline(key)
        if isinstance(item, dict) and item:
            yield f"{name}:"
            yield from (f"  {line}" for line in _lines(item))
        elif isinstance(item, list) and any(isinstance(element, dict | list) and element for element in item):
            yield f"{name}:"
            for element in item:
                block = list(_lines(element)) if isinstance(element, dict) and element else [_inline(element)]
                yield from (f"  {'- ' if i == 0 else '  '}{line}" for i, line in enumerate(block))
        else:
            yield f"{name}: {_inline(item)}"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline(key)}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _float(value)
    if not isinstance(value, str) or (_BARE.fullmatch(value) and value.lower() not in _QUOTED):
        return str(value)
    text = json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08X}" for letter in text)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}[str(value)]
    mantissa, exponent, power = repr(value).partition("e")
    return f"{mantissa}.0{exponent}{power}" if exponent and "." not in mantissa else repr(value)
