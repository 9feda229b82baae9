"""Strict YAML: what is converted, what stays text, and that writing and reading are inverse."""

from __future__ import annotations

import math

import pytest
import yaml

from genmods.config.text import RecipeError, parse, plain, scalar, write

KEPT = [
    "010",
    "12:30:45",
    "on",
    "off",
    "yes",
    "no",
    "0x10",
    "1_",
    "1e",
    "e3",
    ".",
    "-",
    "+",
    "2026-01-01",
    "1.2.3",
    "NaN",
]
CONVERTED = {"1e-3": 1e-3, "1E5": 1e5, "-2": -2, "1_000": 1000, ".5": 0.5, "-1.": -1.0, "0": 0, "0.0": 0.0, "~": None}
CONVERTED |= {"null": None, "true": True, "False": False, ".inf": math.inf, "-.inf": -math.inf}


@pytest.mark.parametrize("text", KEPT)
def test_what_looks_like_something_else_stays_text(text):
    assert scalar(text) == text


@pytest.mark.parametrize("text", CONVERTED)
def test_numbers_and_words_are_converted(text):
    value = scalar(text)
    assert value == CONVERTED[text] and type(value) is type(CONVERTED[text])


def test_a_quoted_scalar_is_text():
    assert plain(parse("a: '1e-3'\nb: \"null\"", "x")) == {"a": "1e-3", "b": "null"}


def test_every_value_has_its_line():
    tree = parse("a:\n  b: 1\n  c:\n    - 2\n    -\n      d: 3\n", "f.yaml")
    block = tree.value["a"]
    assert block.where == "f.yaml:1"
    assert block.value["b"].where == "f.yaml:2"
    assert block.value["c"].value[0].where == "f.yaml:4"
    assert block.value["c"].value[1].value["d"].where == "f.yaml:6"


DATA = {
    "texts": [
        "",
        "a",
        "a b",
        "null",
        "on",
        "010",
        "1e-3",
        "12:30",
        "a: b",
        "# c",
        "é",
        "tab\t",
        "line\nend",
        "'",
        '"',
        "-",
        "line\nend 👍",
        "👩‍🔬\u2028\x7f\xa0\ufeff",
    ],
    "numbers": [0, -1, 1.0, 1e-5, 1e300, 123456789.125, -0.1],
    "rest": [None, True, False],
    "nested": [{"name": "x", "items": [1, [2, 3]], "deep": {"k": {"l": []}}}, {}, [], [{"a": 1}]],
    "empty": {},
    "on": {"1": "a", "b c": 2},
}


def test_writing_and_reading_are_inverse():
    assert plain(parse(write(DATA), "x")) == DATA
    assert write(plain(parse(write(DATA), "x"))) == write(DATA)


def test_other_readers_read_the_same_data():
    assert yaml.safe_load(write(DATA)) == DATA


def test_infinities_survive():
    text = write({"a": math.inf, "b": -math.inf, "c": math.nan})
    back = plain(parse(text, "x"))
    assert back["a"] == math.inf and back["b"] == -math.inf and math.isnan(back["c"])


@pytest.mark.parametrize(
    "text", ["a: *b", "a: &b 1", "a: !x 1", "a: 1\na: 2", "? [a]\n: 1", "a: [", "a: 1\n---\nb: 2", ""]
)
def test_what_is_not_strict_is_refused(text):
    with pytest.raises(RecipeError, match=r"^x:?\d*: "):
        parse(text, "x")
