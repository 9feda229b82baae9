"""Imports only point down: the floors of the package, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import genmods

ROOT = Path(genmods.__file__).parent
FLOORS = (
    ("errors", "disk", "keyed", "devices", "precision", "source", "table", "__init__"),
    ("diffusion", "networks", "data", "metrics", "optim", "visual"),
    ("restoration",),
    ("tasks", "callbacks", "tracking", "checkpoint", "training", "report"),
    ("registry", "recipe", "runs", "earlier", "exported", "calibration", "logs", "execution"),
    ("commands", "__main__"),
)
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
FILES = sorted(ROOT.rglob("*.py"))


def package(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = ["genmods", *path.relative_to(ROOT).parts[: -node.level]] if node.level else []
            name = ".".join([*inside, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def of_genmods(name: str) -> str | None:
    """The package or module of genmods that an import reaches."""
    head, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    if head != "genmods":
        return None
    return first if first in FLOOR else "__init__"


def test_every_package_has_a_floor():
    assert {package(path) for path in FILES} <= set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path):
    own = package(path)
    for line, name in imported(path):
        reached = of_genmods(name)
        assert reached is None or FLOOR[reached] <= FLOOR[own], f"{path}:{line} imports {name}, which is above"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_lightning_stays_above(path):
    allowed = FLOOR[package(path)] >= 3 or package(path) == "data"
    for line, name in imported(path):
        assert allowed or name.partition(".")[0] not in ("lightning", "lightning_utilities"), f"{path}:{line}: {name}"
