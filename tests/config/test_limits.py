"""Limits are read from the source text as Python reads them, and `check` refuses in the constructors' words."""

from __future__ import annotations

import math
import re
import sys

import pytest
import torch

from genmods.config import hints, registry
from genmods.config.build import create
from genmods.config.builtins import BUILTINS, COMMON, imported
from genmods.config.check import UNKNOWN, default
from genmods.config.parts import allowed, model_entry
from genmods.config.recipe import TRAINER
from genmods.config.reflect import settings
from genmods.config.text import Node
from genmods.core import memory
from genmods.core.errors import UserError
from genmods.core.limits import first_fault, is_from_data
from genmods.core.settings import Validated, hints_of, read

PARTS = [(kind, name) for kind, parts in BUILTINS.items() for name in parts]
NEGATIVE = {
    "log_snr_min": "a logarithm",
    "log_snr_max": "a logarithm",
    "start": "a place on the logistic curve",
    "end": "a place on the logistic curve",
    "low": "a logarithm",
    "high": "a logarithm",
    "bias": "a logarithm",
    "angle": "degrees, either way round",
    "seed": "any whole number",
    "split_seed": "any whole number",
    "mean": "of pixels on [-1, 1], or a logarithm",
    "value": "a grey level on [-1, 1]",
    "fourier": "exponents",
    "attention": "counted from the last level",
    "dampening": "of any size",
    "keep": "all checkpoints",
}
"""Settings that may be -1, and why."""
SIZED = ("network", "process", "weighting", "sampler", "method", "task", "data")
"""Kinds whose integers are sizes or counts and therefore have a maximum."""


def resolved(kind, name):
    """The class, or a skip where an optional package is missing."""
    try:
        return registry.resolve(registry.find(kind, name))
    except UserError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            pytest.skip(str(error))
        raise


def forms(alternatives):
    """Form and limits of each alternative and of its items, but for what Python's hints are read for only in part."""
    return [
        (hint.limits, [forms(item) for item in hint.items] if hint.form in ("tuple", "tuple...", "list") else hint.form)
        for hint in alternatives
        if hint.form not in ("null", "any", "part", "dict", bool, str)
    ]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_the_source_text_and_python_agree(kind, name):
    cls = resolved(kind, name)
    if not issubclass(cls, Validated):
        assert kind in ("optimizer", "logger", "callback")
        return
    python, entry = dict(hints_of(cls)), registry.find(kind, name)
    if model := model_entry(entry):
        python |= hints_of(registry.resolve(model))
    if kind in COMMON:
        python |= hints_of(imported(COMMON[kind]))
    for setting in allowed(entry).values():
        text, own = hints.of(setting), python[setting.name]
        assert forms(text) == forms(own), setting.name
        assert is_from_data(text) == is_from_data(own)


def defaults(kind, name):
    known = allowed(registry.find(kind, name))
    values = {key: default(setting) for key, setting in known.items() if setting.default is not None}
    return {key: value for key, value in values.items() if value is not UNKNOWN and not isinstance(value, Node)}


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_no_default_is_refused(kind, name):
    known = {key: hints.of(setting) for key, setting in allowed(registry.find(kind, name)).items()}
    assert first_fault(defaults(kind, name), known) is None


def numbers():
    """Each setting of a built-in part that is a number or a list of numbers."""
    for kind, name in PARTS:
        for key, setting in allowed(registry.find(kind, name)).items():
            alternatives = hints.of(setting)
            inner = [item for hint in alternatives for item in hint.items if hint.form == "tuple..."]
            found = [hint.form for hint in (*alternatives, *(one for item in inner for one in item))]
            if int in found or float in found:
                sized = int in found and kind in SIZED
                yield pytest.param(kind, name, key, sized, bool(inner), id=f"{kind}-{name}-{key}")


@pytest.mark.parametrize(("kind", "name", "key", "sized", "several"), numbers())
def test_impossible_numbers_are_refused_before_anything_is_built(kind, name, key, sized, several):
    known = {key: hints.of(setting) for key, setting in allowed(registry.find(kind, name)).items()}
    for value in (-1, math.nan, math.inf, 10**30):
        if (value == -1 and key in NEGATIVE) or (value == 10**30 and not sized):
            continue
        found = first_fault({**defaults(kind, name), key: [value] if several else value}, known)
        assert found is not None, f"{key}={value}"
        assert re.fullmatch(rf"{key}.* must be .+, got .+", found[1])


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("sampler", "ddim", {"steps": -2}),
        ("sampler", "ddim", {"eta": 3.0}),
        ("sampler", "unipc", {"steps": 1}),
        ("sampler", "heun", {"churn_min": 2.0, "churn_max": 1.0}),
        ("network", "unet", {"multipliers": (1, 0)}),
        ("network", "unet", {"multipliers": (1, 10**30)}),
        ("network", "autoencoder", {"latent_channels": 0}),
        ("network", "dit", {"width": 128, "heads": 3}),
        ("network", "cnn", {"norm": "batsh"}),
        ("process", "edm", {"sigma_min": 90.0}),
        ("process", "sigmoid", {"start": 4.0}),
        ("process", "linear", {"steps": 10}),
        ("method", "repaint", {"steps": 21}),
        ("operator", "stripes", {"width": 4}),
        ("operator", "half", {"side": "middle"}),
        ("augmentation", "random_erasing", {"area_min": 0.3}),
        ("data", "synthetic", {"classes": 0}),
    ],
)
def test_check_refuses_in_the_words_of_the_constructor(kind, name, values):
    with pytest.raises(ValueError) as built:
        resolved(kind, name)(**values)
    with pytest.raises(ValueError) as checked:
        create(kind, name, **{key: list(item) if isinstance(item, tuple) else item for key, item in values.items()})
    assert str(checked.value).startswith(tuple(f"{kind}.{name}.{key}" for key in values))
    assert str(checked.value).partition(": ")[2] == str(built.value)


MODULE = '''
from __future__ import annotations
from typing import Annotated, Any
from annotated_types import Ge, Le
from genmods.core.settings import FromData, Positive
from genmods.networks import Network
from genmods.networks.unet import UNet
from genmods.tasks.diffusion import DiffusionTask

LEAST = 3
Narrow = Annotated[int, Ge(LEAST), Le("2 * width")]
Loop = "Loop"
Left = "Right"
Right = "Left | None"

class Mine(DiffusionTask):
    """The settings of its parent and of its model, but one, and one more."""
    def __init__(self, warmth: Positive = 1.0, **settings: Any):
        super().__init__(density=None, **settings)
        self.warmth = warmth

class Marked(Network):
    """Filled from the data only where it is marked."""
    def __init__(self, in_channels: Annotated[int, Ge(2), FromData] = 1, image_size: int = 5, narrow: Narrow = 4,
                 width: int = 8):
        super().__init__()
        self.seen = in_channels, image_size

class Broken(Network):
    """A hint that is no expression."""
    def __init__(self, width: 'int[' = 1): pass

class Alias(Network):
    """A hint that is an alias of itself."""
    def __init__(self, width: Loop = 1, height: Left = 1): pass
'''

NEVER_IMPORTED = '''
from genmods.networks import Network

class Huge(Network):
    """Defaults that no one has time to compute."""
    def __init__(self, width: int = 9**9**9, text: str = "a" * 10**10, items: tuple = (0,) * 10**9): pass
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "limits_sample.py").write_text(MODULE)
    (tmp_path / "limits_huge.py").write_text(NEVER_IMPORTED)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    targets = {name: f"limits_sample:{name}" for name in ("Marked", "Broken", "Alias", "Mine")}
    for name, target in {**targets, "Huge": "limits_huge:Huge"}.items():
        kind = "task" if name == "Mine" else "network"
        entry = registry.Entry(kind, name.lower(), target, "limits_sample.py")
        registry._registered[kind, name.lower()] = entry
    yield "limits_sample"
    sys.modules.pop("limits_sample", None)


def test_a_subclass_with_one_more_setting_restates_none(module):
    of_parent = allowed(registry.find("task", "diffusion"))
    found = allowed(registry.find("task", "mine"))
    assert set(found) == {"warmth", *of_parent} - {"density"}
    assert found["sampler"] == of_parent["sampler"] and is_from_data(hints.of(found["in_channels"]))
    with pytest.raises(ValueError, match=r"task.mine.warmth: warmth must be above 0, got 0"):
        create("task", "mine", network="mlp", process="cosine", prediction="v", warmth=0)
    with pytest.raises(ValueError, match=r"levels must be at least 2, got 1"):
        create("task", "mine", network="mlp", process="cosine", prediction="v", levels=1)
    with pytest.raises(ValueError, match=r"has no setting 'density'"):
        create("task", "mine", network="mlp", process="cosine", prediction="v", density="uniform")
    task = create("task", "mine", network={"name": "unet", "width": 4}, process="cosine", prediction="v", warmth=2.0)
    assert task.warmth == 2.0 and task.model.levels == 256


def test_the_data_fills_what_is_marked_alone(module):
    from genmods.config.build import build
    from genmods.config.check import part

    found = part("network", Node("marked", "r.yaml:3"), "task.network")
    assert found.open() == ["in_channels"]
    assert build(found, {"in_channels": 3, "image_size": 28}).seen == (3, 5)
    with pytest.raises(
        ValueError, match=r"^r.yaml:3: task.network: in_channels must be at least 2, got 1, from the data"
    ):
        build(found, {"in_channels": 1})


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"narrow": 2}, "network.marked.narrow: narrow must be at least 3, got 2"),
        ({"narrow": 17}, "network.marked.narrow: narrow must be at most 2 * width = 16, got 17"),
        ({"width": 1}, "network.marked.width: narrow must be at most 2 * width = 2, got 4"),
    ],
)
def test_limits_of_named_hints(module, values, line):
    with pytest.raises(ValueError) as error:
        create("network", "marked", **values)
    assert str(error.value) == line


@pytest.mark.parametrize("name", ["broken", "alias", "huge"])
def test_what_a_plug_in_writes_is_read_in_no_time_or_refused_in_one_line(module, name, capsys):
    from genmods.cli import dispatch

    status = dispatch(["show", "network", name])
    told = capsys.readouterr()
    if name == "huge":
        assert status == 0 and "width: int = 9 ** 9 ** 9" in told.out
        return
    assert status != 0 and len(told.err.strip().splitlines()) == 1
    assert {"broken": "'int['", "alias": "alias of itself"}[name] in told.err
    with pytest.raises(ValueError, match=r"^network\.\w+: the network '\w+' of 'limits_sample.py'.*: .*hint") as error:
        create("network", name)
    assert "\n" not in str(error.value)


def test_weights_that_no_memory_holds_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    assert create("network", "mlp", width=64)
    with pytest.raises(ValueError) as error:
        create("network", "mlp", width=16384, depth=1000)
    line = str(error.value)
    assert line.startswith("network.mlp: the weights of the network 'mlp' must fit into 0.0 GB of free memory, got ")


def test_the_estimate_of_memory_changes_no_weights():
    torch.manual_seed(0)
    weights, after = list(create("network", "mlp").parameters()), torch.rand(3)
    torch.manual_seed(0)
    network = resolved("network", "mlp")()
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))
    assert torch.equal(after, torch.rand(3))


@pytest.mark.parametrize("name", BUILTINS["optimizer"])
def test_settings_of_optimizers_are_in_range(name):
    known = allowed(registry.find("optimizer", name))
    for key in {"lr", "weight_decay", "eps", "alpha", "momentum", "adam_lr"} & set(known):
        for value in (-1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=rf"^optimizer.{name}.{key}: {key} must be .+, got "):
                create("optimizer", name, **{key: value})


def test_restated_hints_of_other_libraries_are_of_settings_that_they_have():
    from genmods.config.foreign import _HINTS

    targets = [*BUILTINS["optimizer"].values(), TRAINER.target]
    for start, texts in _HINTS.items():
        known = set().union(*(settings(target) for target in targets if target.startswith(start)))
        assert set(texts) <= known


def test_hints_that_only_a_type_checker_can_read_set_no_limit():
    assert read("NotThere") == read(None)[:0] + hints.ANY
