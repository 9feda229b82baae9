"""Range checks tried from the source text say what the constructors say, and never refuse what those take."""

from __future__ import annotations

import pytest

from genmods.config import registry
from genmods.config.build import create
from genmods.config.builtins import BUILTINS
from genmods.config.check import UNKNOWN, allowed, default
from genmods.config.constraints import refused
from genmods.config.text import Node

MODULE = '''
from dataclasses import dataclass

class Own:
    """Its own constructor."""
    def __init__(self, a: int = 1, b: int | None = None, c: tuple[int, ...] = (1,), d: str = "x"):
        self.a, self.c = a, c
        b = b or 3
        if b > 2:
            raise ValueError("b was assigned anew: not to be judged")
        for name, value in (("a", a), ("c", len(c))):
            if value < 1:
                raise ValueError(f"{name} is {value}")
        if self.a > 10 or any(item < 0 for item in c):
            raise ValueError(f"a={self.a}, c={c}")
        if d not in ("x", "y"):
            raise ValueError(f"d={d!r}")
        if open(d) or d.upper() or unknown(d):
            raise ValueError("never evaluated")

@dataclass
class Base:
    """Base."""
    a: int = 1
    def __post_init__(self):
        if self.a < 0:
            raise ValueError(f"a={self.a}")

@dataclass
class Free(Base):
    """Does not."""
    def __post_init__(self):
        pass

@dataclass
class Derived(Base):
    """Inherits the check."""
    b: int = 1
    def __post_init__(self):
        super().__post_init__()
        if self.b < 0:
            raise ValueError(f"b={self.b}")
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "guards_sample.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "guards_sample"


@pytest.mark.parametrize(
    ("cls", "values", "told"),
    [
        ("Own", {}, None),
        ("Own", {"b": 9}, None),
        ("Own", {"a": 0}, "a is 0"),
        ("Own", {"c": ()}, "c is 0"),
        ("Own", {"a": 11}, "a=11, c=(1,)"),
        ("Own", {"c": (1, -1)}, "a=1, c=(1, -1)"),
        ("Own", {"d": "z"}, "d='z'"),
        ("Derived", {"a": -1}, "a=-1"),
        ("Derived", {"b": -1}, "b=-1"),
        ("Derived", {}, None),
        ("Free", {"a": -1}, None),
    ],
)
def test_guards_are_evaluated_where_they_can_be(module, cls, values, told):
    standard = {"a": 1, "b": None, "c": (1,), "d": "x"} if cls == "Own" else {"a": 1, "b": 1}
    found = refused(f"{module}:{cls}", standard | values)
    assert (found[0] if found else None) == told
    assert found is None or set(values) & found[1]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, parts in BUILTINS.items() for name in parts])
def test_no_default_is_refused(kind, name):
    entry = registry.find(kind, name)
    values = {key: default(setting) for key, setting in allowed(entry).items() if setting.default is not None}
    literal = {key: value for key, value in values.items() if value is not UNKNOWN and not isinstance(value, Node)}
    assert refused(entry.target, literal) is None


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("sampler", "ddim", {"steps": -2}),
        ("sampler", "ddim", {"eta": 3.0}),
        ("network", "unet", {"width": 0}),
        ("data", "synthetic", {"classes": 0}),
    ],
)
def test_the_message_is_that_of_the_constructor(kind, name, values):
    entry = registry.find(kind, name)
    standard = {key: default(setting) for key, setting in allowed(entry).items()}
    found = refused(entry.target, standard | values)
    with pytest.raises(ValueError) as told:
        registry.resolve(entry)(**values)
    assert found and found[0] == str(told.value)
    with pytest.raises(ValueError, match=r".+") as checked:
        create(kind, name, **values)
    assert str(told.value) in str(checked.value)


MAY_BE_NEGATIVE = {
    "bias", "high", "low", "mean", "seed", "value",  # levels and seeds
    "attention", "fourier",  # counted from the end; exponents
}  # fmt: skip
OF_FOREIGN = {"dropout", "num_classes", "sigma_data", "std"}
"""Settings that a network of another library takes as they are, and those that the data fills."""
FACTS = {
    "in_channels": 1,
    "image_size": 28,
    "num_classes": 10,
    "mean": 0.0,
    "std": 1.0,
    "sigma_data": 0.5,
    "levels": 256,
}
FUZZED = [
    (kind, name)
    for kind in ("network", "augmentation", "metric", "data", "density", "weighting")
    for name in BUILTINS[kind]
]


@pytest.mark.parametrize(("kind", "name"), FUZZED)
def test_minus_one_is_refused_in_one_line(kind, name):
    if name in ("diffusers", "timm"):
        pytest.importorskip(name)
    known = allowed(registry.find(kind, name))
    for key, setting in known.items():
        standard = default(setting)
        several = isinstance(standard, list | tuple)
        first = standard[0] if several and standard else standard
        if isinstance(first, bool) or not isinstance(first, int | float) or key in MAY_BE_NEGATIVE | OF_FOREIGN:
            continue
        facts = {fact: value for fact, value in FACTS.items() if fact in known and fact != key}
        with pytest.raises(ValueError, match=rf"{kind}\.{name}.*: .+"):
            create(kind, name, **facts, **{key: [-1] if several else -1})
            pytest.fail(f"{kind} {name} takes {key}=-1")
