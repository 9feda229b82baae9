"""Kinds and names: finding, resolving and registering parts."""

from __future__ import annotations

import subprocess
import sys

import pytest

import genmods
from genmods.callbacks.stopping import Stopped
from genmods.cli import dispatch
from genmods.config import build, registry
from genmods.config.builtins import BUILTINS, KINDS
from genmods.core.errors import UserError
from genmods.networks import Network


def test_the_table_and_the_registry_agree():
    assert set(BUILTINS) <= set(KINDS)
    for kind in KINDS:
        assert set(BUILTINS[kind]) <= set(registry.names(kind))
        for name, target in BUILTINS[kind].items():
            assert registry.find(kind, name) == registry.Entry(kind, name, target)


def test_unknown_kinds_and_names_have_a_suggestion():
    with pytest.raises(UserError, match="no kind of part is called 'netwrok'; did you mean 'network'"):
        registry.names("netwrok")
    with pytest.raises(UserError, match="no network is called 'unett'; did you mean 'unet'"):
        registry.find("network", "unett")
    with pytest.raises(UserError, match="no network is called 'ddim'; 'ddim' is of the kind sampler"):
        registry.find("network", "ddim")


def test_a_registered_class_is_a_part(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @genmods.register("network", "of_this_test")
    class Mine(Network):
        """A network of this test."""

    module = sys.modules[__name__]
    entry = registry.find("network", "of_this_test")
    assert entry.origin == module.__file__
    module.Mine = Mine  # type: ignore[attr-defined]
    assert registry.resolve(entry._replace(target=f"{__name__}:Mine")) is Mine
    with pytest.raises(UserError, match=r"registered by .* already"):
        genmods.register("network", "of_this_test")(type("Other", (Network,), {}))
    with pytest.raises(UserError, match="takes the name of a built-in"):
        genmods.register("network", next(iter(BUILTINS["network"])))(Mine)


def test_a_class_of_another_kind_is_refused():
    entry = registry.Entry("network", "wrong", "genmods.diffusion.prediction:EpsPrediction", "somewhere")
    with pytest.raises(UserError, match=r"the network 'wrong' of 'somewhere' is not a genmods.networks.base.Network"):
        registry.resolve(entry)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("genmods_nowhere:X", "requires the package 'genmods_nowhere'"),
        ("genmods.networks:Nothing", "cannot be imported"),
    ],
)
def test_a_part_that_cannot_be_imported_is_reported(target, told):
    with pytest.raises(UserError, match=told):
        registry.resolve(registry.Entry("network", "gone", target))


def test_the_public_names_exist():
    for name in genmods.__all__:
        assert getattr(genmods, name)
    with pytest.raises(AttributeError, match="nothing"):
        genmods.nothing  # noqa: B018


def test_listing_imports_no_part():
    code = "import sys; from genmods.config import builtins, registry; [registry.names(k) for k in builtins.KINDS]"
    code += "; assert not [m for m in sys.modules if m.startswith('genmods.networks') or m == 'torch']"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


@pytest.mark.parametrize("stop", [Stopped(143), KeyboardInterrupt()])
def test_a_stop_during_an_import_or_construction_is_not_an_error_of_the_part(monkeypatch, stop):
    def stops(*_, **__):
        raise stop

    monkeypatch.setattr(registry, "imported", stops)
    with pytest.raises(type(stop)) as raised:
        registry.resolve(registry.Entry("network", "slow", "genmods.networks:CNN", "other"))
    assert isinstance(stop, Stopped) or str(raised.value) == "during the import of the network 'slow' of 'other'"
    monkeypatch.undo()
    monkeypatch.setattr(build, "constructed", stops)
    with pytest.raises(type(stop)):
        genmods.create("network", "mlp")


def test_the_tables_of_parts_cannot_be_changed():
    for table in (KINDS, BUILTINS, BUILTINS["network"]):
        with pytest.raises(TypeError):
            table["unet"] = "elsewhere:Net"


def test_no_plugins_holds_for_one_command(capsys):
    assert dispatch(["list", "schedule", "--no-plugins"]) == 0
    assert "--no-plugins" not in registry.imports()
    with registry.without_plugins():
        assert "--no-plugins" in registry.imports()
