"""`genmods show KIND NAME`."""

from __future__ import annotations

import pytest
import yaml

from genmods.cli import dispatch
from genmods.config import registry
from genmods.config.builtins import BUILTINS
from genmods.config.parts import allowed


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, parts in BUILTINS.items() for name in parts])
def test_a_part_is_shown_with_its_settings_and_a_snippet(kind, name, capsys):
    assert dispatch(["show", kind, name]) == 0
    head, _, snippet = capsys.readouterr().out.partition("in a recipe:\n")
    assert BUILTINS[kind][name] in head
    section = next(iter(yaml.safe_load(snippet).values()))
    values = section[0] if isinstance(section, list) else section
    assert values["name"] == name
    assert set(values) - {"name"} <= set(allowed(registry.find(kind, name)))


def test_types_defaults_and_facts(capsys):
    dispatch(["show", "network", "unet"])
    text = capsys.readouterr().out
    assert "  width: int = 32   # at least 2, at most 16384, a multiple of 2\n" in text
    assert "  in_channels: int = 1   # at least 1, at most 16384; from the data unless set\n" in text
    assert (
        "  attention: tuple[int, ...] = (-1,)   # each at least -len(multipliers), less than len(multipliers)\n" in text
    )
    assert "  out_channels: int | None = None   # at least 1, at most 16384\n" in text
    dispatch(["show", "optimizer", "adam"])
    assert "  lr: float = 0.001   # at least 0\n" in capsys.readouterr().out
