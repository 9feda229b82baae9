"""Completion by shells, through the environment variables of argcomplete."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("argcomplete")


def completions(line, tmp_path):
    """What a shell is offered at the end of a command line."""
    out = tmp_path / "found"
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run([sys.executable, "-m", "genmods"], env=environment, cwd=tmp_path, check=True, timeout=300)
    return {word.strip() for word in out.read_text().splitlines()}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("genmods gen", "generate"),
        ("genmods fit --config fashion_mnist/cn", "fashion_mnist/cnn"),
        ("genmods show network unet", "unet"),
    ],
)
def test_words_are_completed(line, word, tmp_path):
    assert word in completions(line, tmp_path)
