"""Recipes and command lines made to hurt: one line of bounded length."""

import pytest

from genmods.cli import dispatch
from genmods.config.recipe import load
from genmods.config.text import RecipeError, parse

HEAD = "task: {name: classification, network: cnn}\ndata: digits\n"
BOMBS = {
    "digits": HEAD + "seed: " + "9" * 4301,
    "many digits": HEAD + "seed: " + "9" * 900_000,
    "underscores": HEAD + "seed: 1" + "_1" * 400_000,
    "an exponent": HEAD + "seed: 1e" + "9" * 100_000,
    "keys": "".join(f"k{i}: 1\n" for i in range(90_000)),
    "items": HEAD + "callbacks: [" + "1," * 450_000 + "]",
    "one key": "k" * 999_000 + ": 1",
    "one name": HEAD.replace("cnn", "c" * 900_000),
    "layers": HEAD.replace("cnn", "{name: cnn, layers: [" + "conv 8," * 50_000 + "]}"),
    "brackets": "[" * 900_000,
    "braces": "{a: " * 200_000,
    "control characters": HEAD.replace("cnn", '"\\e[2J\\n\\u202e"'),
    "a bell": HEAD.replace("cnn", '"\\a\\0"'),
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_bomb_is_one_line(tmp_path, case):
    path = tmp_path / "r.yaml"
    path.write_text(BOMBS[case])
    with pytest.raises(RecipeError) as caught:
        load(path)
    line = str(caught.value)
    assert len(line) < 2000 and line.isprintable() and "r.yaml" in line


@pytest.mark.parametrize(
    "override",
    [
        "--callbacks.²=x",
        "--callbacks.٣=x",
        "--callbacks.9999999999=x",
        "--seed=" + "9" * 4301,
        "--\x1b[2J.a=1",
        "--a.\n=1",
    ],
)
def test_an_override_is_one_line(capsys, override):
    assert dispatch(["check", "cnn", override]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.strip().isprintable() and len(told) < 2000


def test_a_number_of_400_characters_is_one_and_a_longer_one_is_text():
    assert parse("1" * 400, "x").value == int("1" * 400)
    assert parse("1" * 401, "x").value == "1" * 401
