"""Text from outside on a terminal and in a spreadsheet."""

import pytest

from genmods.core.errors import UserError, nearest
from genmods.core.printable import cell, counted, printable, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä € 😀", "plain ä € 😀"),
        ("a\x1b[2J", "a\\x1b[2J"),
        ("a\nb\r\tc\0\x7f\x9b", "a\\nb\\r\\tc\\x00\\x7f\\x9b"),
        ("\u202eabc\u200b\ufeff", "\\u202eabc\\u200b\\ufeff"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_a_terminal_would_obey_is_an_escape(text, shown, capsys):
    assert printable(text) == shown and str(UserError(text)) == shown
    say(text)
    assert capsys.readouterr().out == f"{shown}\n"


def test_a_long_message_keeps_both_ends():
    message = str(UserError("start " + "x" * 1_000_000 + " end"))
    assert len(message) < 2000 and message.startswith("start x") and message.endswith("x end")


def test_details_are_lines_of_their_own():
    assert str(UserError("two files:", "a\nb", "c")) == "two files:\n  a\\nb\n  c"


def test_a_long_name_has_no_nearest():
    assert nearest("u" * 1_000_000, [f"name{i}" for i in range(200)]) == ""
    assert nearest("unett", ["unet", "vdm"]) == "; did you mean 'unet'?"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=cmd|' :C calc'!A0.png", "'=cmd|' :C calc'!A0.png"),
        ("+1.png", "'+1.png"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-n", "'-n"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("＝1+1", "'＝1+1"),
        ("-0.5", "-0.5"),
        ("+3", "+3"),
        ("1e-3", "1e-3"),
        ("cat", "cat"),
        ("a=b", "a=b"),
        ("\udcff.png", "\\udcff.png"),
    ],
)
def test_a_cell_is_text_and_a_number_a_number(text, written):
    assert cell(text) == written


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2000, "class", "2,000 classes"),
        (1, "class", "1 class"),
        (3, "broken box", "3 broken boxes"),
    ],
)
def test_a_noun_is_singular_for_one_only(count, noun, text):
    assert counted(count, noun) == text
