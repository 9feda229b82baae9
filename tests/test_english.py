"""Phrases that are not idiomatic English, in docstrings, comments, messages and pages."""

from __future__ import annotations

import pytest

from support import english


@pytest.mark.parametrize("kind", english.PHRASES)
def test_there_is_none(kind):
    lines = english.found(kind)
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("speech for computation", "what the network says about x_t"),
        ("lies and stands", "the name stands in front of the value"),
        ("behind and in front of", "self-attention behind each block"),
        ("a for per", "the bound in nats a pixel, one file a command"),
        ("archaic", "2 tensors start afresh"),
        ("of its own", "each sample has a stream of its own"),
        ("negated nouns", "raises ValueError for what is no kernel"),
        ("where for if", "the EMA weights where there are any"),
        ("goes on", "the run goes on with the next epoch"),
        ("in order", "ddpm.yaml: in order"),
    ],
)
def test_phrases_are_found(kind, text):
    assert english.offences(text, kind)


@pytest.mark.parametrize(
    "text",
    [
        "a Table of tensors of images and a row per sample",
        "`what a model says` in code is a name",
        "there is no longer a lot of memory; in order to save it, the process is not known",
        "the value must lie in [0, 1]",
    ],
)
def test_plain_english_is_not(text):
    assert not any(english.offences(text, kind) for kind in english.PHRASES)


def test_docstrings_comments_and_messages_are_read():
    source = '"""One.\n\nTwo lines."""\nx = 1  # a comment\nraise ValueError(f"{x} is not 2")\n'
    assert [text for _, text in english.in_python(source)] == ["One.", "", "Two lines.", "# a comment", " is not 2"]


def test_code_blocks_are_not():
    assert list(english.in_markdown("One\n```\ntwo\n```\nthree")) == [(1, "One"), (4, "```"), (5, "three")]
