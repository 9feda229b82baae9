"""`genmods list`."""

from __future__ import annotations

import pytest

from genmods.cli import dispatch
from genmods.config import registry
from genmods.config.builtins import BUILTINS, KINDS


def test_all_kinds_with_their_names(capsys):
    assert dispatch(["list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(KINDS)
    assert all(name in lines[kind] for kind, parts in BUILTINS.items() for name in parts)


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_with_summaries(kind, capsys):
    assert dispatch(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines]
    assert listed == sorted(listed) and set(listed) >= set(BUILTINS[kind])  # other tests register parts


def test_options_may_stand_in_front_of_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    (tmp_path / "parts.py").write_text(
        "import genmods\n@genmods.register('grid', 'mine_of_list')\nclass Mine:\n    '''My own grid.'''\n"
    )
    assert dispatch(["--import", str(tmp_path / "parts.py"), "list", "grid"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("mine_of_list"))
    assert "My own grid." in line and "parts.py" in line
