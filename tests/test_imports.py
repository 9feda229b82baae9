"""Imports only point down: the floors of the package, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import genmods

ROOT = Path(genmods.__file__).parent
FLOORS = (
    ("__init__", "core"),
    ("config", "data", "diffusion", "networks", "optim", "tracking"),
    ("models",),
    ("metrics", "report", "restoration"),
    ("tasks", "visual"),
    ("callbacks",),
    ("runs",),
    ("cli",),
    ("__main__",),
)
WITHOUT_LIGHTNING = {"core", "config", "diffusion", "networks", "optim", "models", "metrics", "report", "restoration"}
WITHOUT_LIGHTNING |= {"visual"}
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
FILES = {
    ".".join(["genmods", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def package(module: str) -> str:
    """The package or module of the root that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in FILES else str(node.module)


def of_genmods(module: str) -> list[tuple[int, str]]:
    """Line and name of the modules of genmods that a module imports."""
    return [(line, name) for line, name in imported(FILES[module]) if name.partition(".")[0] == "genmods"]


def test_every_package_has_a_floor():
    assert {package(module) for module in FILES} == set(FLOOR)


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down(module):
    own = package(module)
    for line, name in of_genmods(module):
        below = FLOOR[package(name)] < FLOOR[own] or package(name) == own
        assert below, f"{FILES[module]}:{line} imports {name}, which is not below"


def test_no_module_imports_itself_on_a_detour():
    try:
        TopologicalSorter({module: {name for _, name in of_genmods(module)} for module in FILES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


@pytest.mark.parametrize("module", [module for module in FILES if package(module) in WITHOUT_LIGHTNING])
def test_libraries_need_no_trainer(module):
    for line, name in imported(FILES[module]):
        found = name.partition(".")[0] in ("lightning", "lightning_utilities")
        assert not found, f"{FILES[module]}:{line}: {name}"
