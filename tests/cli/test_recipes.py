"""`genmods recipes`."""

from __future__ import annotations

from genmods.cli import dispatch
from genmods.config.shipped import shipped


def test_each_recipe_with_its_headline(capsys):
    assert dispatch(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(shipped())
    assert all(len(line.split()) > 3 for line in lines), "a recipe lacks its header"
