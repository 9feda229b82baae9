"""The generated reference has a page of every package, every registered part and every command."""

import importlib.util
import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import genmods
from genmods.cli import COMMANDS
from genmods.config.builtins import BUILTINS

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "_ext" / "reference.py")
    pytest.importorskip("sphinx")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_registered_name_has_its_section(reference):
    pages = reference.pages()
    for kind, names in BUILTINS.items():
        for name, target in names.items():
            page = pages[f"parts/{kind}.md"]
            assert f"\n## {name}\n" in page and target in page


def test_every_public_name_has_its_section(reference):
    pages = reference.pages()
    for package in reference.PACKAGES:
        page = pages.get(f"api/{package}.md", "")
        missing = [n for n in reference.public(package) if not n.startswith("__") and f"\n## {n}\n" not in page]
        assert not missing, f"{package}: {missing}"


def test_every_public_name_of_a_package_is_in_the_reference(reference):
    listed = {
        id(getattr(import_module(package), name))
        for package in reference.PACKAGES
        for name in reference.public(package)
    }
    for _, package, _ in filter(lambda found: found.ispkg, pkgutil.walk_packages(genmods.__path__, "genmods.")):
        values = {name: getattr(import_module(package), name) for name in reference.public(package)}
        assert not [name for name, value in values.items() if id(value) not in listed], package


def test_every_command_is_described_by_its_own_help(reference):
    page = reference.pages()["cli.md"]
    for command in COMMANDS:
        assert f"\n## genmods {command}\n" in page and f"usage: genmods {command}" in page


def test_every_page_is_in_a_table_of_contents():
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    listed = set()
    for path in DOCS.rglob("*.md"):
        inside = False
        for line in path.read_text().splitlines():
            if line.startswith("```{toctree}"):
                inside = True
            elif line.startswith("```"):
                inside = False
            elif inside and line and not line.startswith(":"):
                listed.add((path.parent / line).relative_to(DOCS))
    generated = {page for page in pages if page.parts[0] == "reference" and page.name != "index"}
    assert pages - generated - listed == {Path("index")}
