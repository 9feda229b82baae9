"""Partial results: those of the same request are continued, those that cannot be read are reported."""

import numpy as np
import pytest

from genmods.cli.unfinished import Unfinished


@pytest.fixture
def folder(tmp_path):
    """Two rows and two images of an interrupted call."""
    work = Unfinished(tmp_path / "work", {"seed": 1})
    work.add([("a", 1), ("b", 2)], images=np.ones((2, 3), np.uint8))
    return work.folder


def test_the_same_request_continues(folder, capsys):
    work = Unfinished(folder, {"seed": 1})
    assert work.continues and work.done == {"a", "b"} and work.count("images") == 2
    assert not Unfinished(folder, {"seed": 2}).continues
    assert not any(folder.iterdir()) and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("file", "content"), [("state.json", "{"), ("state.json", "[]"), ("state.json", "{}"), ("images", "")]
)
def test_damaged_results_are_reported_and_computed_again(folder, capsys, file, content):
    (folder / file).write_text(content)
    assert not Unfinished(folder, {"seed": 1}).continues
    told = capsys.readouterr().err
    assert told.startswith(f"{folder}: partial results cannot be read and are computed again (")
    assert told.count("\n") == 1
    assert not Unfinished(folder, {"seed": 1}).continues and capsys.readouterr().err == ""
