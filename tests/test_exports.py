"""The public surface: what each package lists is there, is imported when it is used, and starts nothing."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import genmods

PACKAGES = [name for name in dir(genmods) if not hasattr(getattr(genmods, name), "__qualname__")]


@pytest.mark.parametrize(
    "name", ["genmods", *(f"genmods.{package}" for package in PACKAGES), "genmods.data.augmentation"]
)
def test_every_public_name_is_there(name):
    package = importlib.import_module(name)
    assert package.__all__ and set(package.__all__) <= set(dir(package))
    for member in package.__all__:
        value = getattr(package, member)
        module = getattr(value, "__module__", value.__name__ if hasattr(value, "__name__") else "genmods")
        assert module.startswith(("genmods", "builtins", "typing", "collections")), f"{name}.{member} is of {module}"
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = package.nothing


def test_the_packages_that_a_user_names_are_public():
    assert {"diffusion", "networks", "restoration", "data", "metrics", "models", "tasks", "callbacks"} <= set(PACKAGES)
    assert {"fit", "load", "create", "register"} <= set(dir(genmods))


def test_a_name_brings_its_module_alone():
    code = (
        "import sys, json, genmods; before = 'torch' in sys.modules; from genmods.networks import UNet;"
        "print(json.dumps([before, UNet.__name__, [m for m in sys.modules if m.startswith('genmods.networks.')]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    before, name, modules = json.loads(done.stdout)
    assert (before, name) == (False, "UNet") and "genmods.networks.resnet" not in modules
