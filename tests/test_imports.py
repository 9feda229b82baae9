"""Imports only point down: the floors of the package, read from its source."""

from __future__ import annotations

import pytest

from support.reading import FILES, imported, imported_from_genmods, package, place

FLOORS = (
    ("core",),
    ("__init__",),
    ("config", "data", "diffusion", "networks", "optim", "tracking"),
    ("models",),
    ("metrics", "report", "restoration"),
    ("tasks", "visual"),
    ("callbacks",),
    ("runs",),
    ("play",),
    ("cli",),
    ("__main__",),
)
WITHOUT_LIGHTNING = {"core", "config", "diffusion", "networks", "optim", "models", "metrics", "report", "restoration"}
WITHOUT_LIGHTNING |= {"visual", "play"}
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}


def test_every_package_has_a_floor():
    assert {package(module) for module in FILES} == set(FLOOR)


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down(module):
    own = package(module)
    for line, name in imported_from_genmods(module):
        below = FLOOR[package(name)] < FLOOR[own] or package(name) == own
        assert below, f"{place(module, line)} imports {name}, which is not below"


@pytest.mark.parametrize("module", [module for module in FILES if package(module) in WITHOUT_LIGHTNING])
def test_libraries_need_no_trainer(module):
    for line, name in imported(module):
        found = name.partition(".")[0] in ("lightning", "lightning_utilities")
        assert not found, f"{place(module, line)}: {name}"
