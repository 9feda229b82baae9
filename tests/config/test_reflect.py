"""Settings read from the syntax tree are those that Python itself reports."""

from __future__ import annotations

import inspect
import sys
from dataclasses import MISSING, fields, is_dataclass

import pytest

from genmods.config import hints, registry
from genmods.config.builtins import BUILTINS, COMMON, imported
from genmods.config.check import UNKNOWN, default
from genmods.config.parts import PROVIDED, allowed, model_entry
from genmods.config.reflect import docstring, find_class, settings
from genmods.config.text import Node
from genmods.core.settings import parameter_name, setting_name

PARTS = [(kind, name) for kind, parts in BUILTINS.items() for name in parts]


def resolved(kind, name):
    """The class, or a skip where an optional package is missing."""
    try:
        return registry.resolve(registry.find(kind, name))
    except Exception as error:
        if isinstance(error.__cause__, ModuleNotFoundError) and not error.__cause__.name.startswith("genmods"):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_built_in_imports_and_is_of_its_kind(kind, name):
    assert resolved(kind, name).__doc__


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_the_settings_are_those_of_the_constructor(kind, name):
    cls, target = resolved(kind, name), BUILTINS[kind][name]
    parameters = [
        p for p in inspect.signature(cls).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    found = settings(target)
    assert list(found) == [setting_name(p.name) for p in parameters]
    for parameter in parameters:
        has_default = parameter.default is not parameter.empty
        assert (found[setting_name(parameter.name)].default is not None) == has_default, parameter.name


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_setting_can_be_written_and_its_default_is_literal(kind, name):
    entry = registry.find(kind, name)
    cls = resolved(kind, name)
    factories = (
        {f.name: f.default_factory() for f in fields(cls) if f.default_factory is not MISSING}
        if is_dataclass(cls)
        else {}
    )
    parameters = dict(inspect.signature(cls).parameters)
    if model := model_entry(entry):
        parameters |= inspect.signature(registry.resolve(model)).parameters
    if kind in COMMON:
        parameters |= inspect.signature(imported(COMMON[kind])).parameters
    for setting in allowed(entry).values():
        assert hints.read(setting.hint, setting.module), f"{setting.name} cannot be written in a recipe"
        if setting.default is None:
            continue
        value = default(setting)
        assert value is not UNKNOWN, f"the default of {setting.name} is no literal"
        if not isinstance(value, Node):
            name = parameter_name(setting.name)
            assert value == factories.get(name, parameters[name].default)


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_built_in_is_found_by_path_and_documented(kind, name):
    assert find_class(BUILTINS[kind][name])
    assert docstring(BUILTINS[kind][name]) or BUILTINS[kind][name].startswith("torch.")  # torch sets some when imported


def test_what_the_task_fills_is_not_a_setting():
    for kind, filled in PROVIDED.items():
        for name in BUILTINS.get(kind, ()):
            assert not set(filled) & set(allowed(registry.find(kind, name)))


MODULE = '''
from __future__ import annotations
import dataclasses, typing
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Optional, Union
from collections.abc import Sequence
from genmods.networks import Network
from genmods import networks
import genmods.diffusion.grids
Size = Union[int, Literal["auto"]]
WIDTH = 8

@dataclass
class Base:
    """Base."""
    a: int = 1
    b: ClassVar[int] = 2
    c: float = field(default=0.5)
    d: list[int] = field(default_factory=list)
    e: int = field(init=False, default=3)

@dataclasses.dataclass(frozen=True)
class Derived(Base):
    """Derived."""
    a: int = WIDTH
    f: "Network | None" = None
    g: Optional[networks.Network] = None
    h: genmods.diffusion.grids.Grid = field(default_factory=genmods.diffusion.grids.UniformGrid)

class Plain(Derived):
    """Inherits the constructor."""

class Own:
    """Its own constructor."""
    def __init__(self, x: Size, /, y: tuple[int, ...] = (1, 2), *rest: int, z: dict[str, Network] = {}, **more: int):
        pass
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "source_sample.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "source_sample"


def test_inherited_fields_in_their_order(module):
    assert list(settings(f"{module}:Derived")) == ["a", "c", "d", "f", "g", "h"]
    assert list(settings(f"{module}:Plain")) == list(settings(f"{module}:Derived"))
    assert default(settings(f"{module}:Derived")["a"]) == 8
    assert default(settings(f"{module}:Derived")["d"]) == []
    assert default(settings(f"{module}:Derived")["h"]).value["name"].value == "uniform"
    assert list(settings(f"{module}:Own")) == ["x", "y", "z"]
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("cls", "name", "told"),
    [
        ("Derived", "f", "a network or null"),
        ("Derived", "g", "a network or null"),
        ("Derived", "h", "a grid"),
        ("Own", "x", "an int or 'auto'"),
        ("Own", "y", "a list of [an int]"),
        ("Own", "z", "a dict of [a network]"),
    ],
)
def test_hints_are_followed_to_their_kind(module, cls, name, told):
    setting = settings(f"{module}:{cls}")[name]
    assert hints.describe(hints.read(setting.hint, setting.module)) == told
