"""Impossible numbers are refused when a part is made, not when it is used."""

import inspect

import pytest

from genmods.config import registry
from genmods.config.builtins import BUILTINS

NEGATIVE = {
    "log_snr_min": "a logarithm",
    "log_snr_max": "a logarithm",
    "start": "a place on the logistic curve",
    "end": "a place on the logistic curve",
    "angle": "degrees, either way round",
    "seed": "any whole number",
}
"""Settings that may be -1, and why."""


def numbers():
    for kind in ("sampler", "grid", "process", "method", "operator", "corruption"):
        for name in BUILTINS[kind]:
            for setting in inspect.signature(registry.resolve(registry.find(kind, name))).parameters.values():
                if setting.annotation in ("int", "float", "int | None", "float | None"):
                    yield pytest.param(kind, name, setting.name, id=f"{name}-{setting.name}")


@pytest.mark.parametrize(("kind", "name", "setting"), numbers())
def test_minus_one(kind, name, setting):
    make = registry.resolve(registry.find(kind, name))
    if setting in NEGATIVE:
        make(**{setting: -1})
        return
    with pytest.raises(ValueError, match="-1") as caught:
        make(**{setting: -1})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "settings"),
    [
        ("method", "ddnm", {"steps": 0}),
        ("method", "pigdm", {"prior_std": 0.0}),
        ("operator", "kernel_blur", {"columns": 0}),
        ("operator", "kernel_blur", {"weights": [1.0, 1.0, 1.0, 1.0], "columns": 1}),
        ("operator", "kernel_blur", {"weights": [1.0, 0.0, -1.0]}),
        ("operator", "box", {"width": 0}),
        ("operator", "half", {"side": "middle"}),
        ("sampler", "heun", {"churn_min": 2.0, "churn_max": 1.0}),
    ],
)
def test_other_impossible_settings(kind, name, settings):
    with pytest.raises(ValueError) as caught:
        registry.resolve(registry.find(kind, name))(**settings)
    assert "\n" not in str(caught.value)
