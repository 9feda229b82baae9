"""`genmods check RECIPE`."""

from __future__ import annotations

import pytest

from genmods.cli import dispatch
from genmods.config import registry
from genmods.config.shipped import shipped

MINE = '''
from genmods import register
from genmods.networks import Network

@register("network", "mine_of_check")
class Mine(Network):
    """My own network."""

    def __init__(self, width: int = 3):
        super().__init__()
'''


@pytest.mark.parametrize("name", list(shipped()))
def test_shipped_recipes_are_in_order(name, capsys):
    assert dispatch(["check", name]) == 0
    assert capsys.readouterr().out.endswith(": OK\n")


def test_own_parts_are_checked_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    (tmp_path / "parts.py").write_text(MINE)
    (tmp_path / "r.yaml").write_text("task: {name: classification, network: mine_of_check}\ndata: digits\n")
    arguments = ["check", str(tmp_path / "r.yaml"), "--import", str(tmp_path / "parts.py")]
    assert dispatch(arguments) == 0
    assert dispatch([*arguments, "--task.network.width", "5"]) == 0
    capsys.readouterr()
    assert dispatch([*arguments, "--task.network.widht", "5"]) == 2
    assert "did you mean 'width'?" in capsys.readouterr().err
