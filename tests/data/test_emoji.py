"""The emoji of a font: which there are, in which group and split, and how they look."""

import pytest
import torch

from genmods.core.errors import UserError
from genmods.data.sources.emoji import Emoji, _split, _symbols

TEXT = """\
# group: People & Body
# subgroup: person-role
1F468 200D 1F680                                       ; fully-qualified     # 👨‍🚀 E4.0 man astronaut
1F469 1F3FD 200D 1F680                                 ; fully-qualified # 👩🏽‍🚀 E4.0 woman astronaut: dark skin tone
1F3C3 200D 2642 FE0F                                   ; fully-qualified     # 🏃‍♂️ E4.0 man running
1F3C3 200D 2642                                        ; minimally-qualified # 🏃‍♂ E4.0 man running
# group: Flags
1F1E8 1F1ED                                            ; fully-qualified     # 🇨🇭 E2.0 flag: Switzerland
"""


@pytest.fixture
def listed(tmp_path):
    (tmp_path / "emoji-test.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def test_the_list_has_sequences_groups_and_names(listed):
    symbols = list(_symbols(listed / "emoji-test.txt"))
    assert [symbol.name for symbol in symbols] == [
        "man astronaut", "woman astronaut: dark skin tone", "man running", "flag: Switzerland",
    ]  # fmt: skip
    assert [symbol.group for symbol in symbols] == 3 * ["People & Body"] + ["Flags"]
    assert symbols[0].sequence == (0x1F468, 0x200D, 0x1F680)


def test_variants_have_one_base_and_other_emoji_another(listed):
    man, woman, running, flag = _symbols(listed / "emoji-test.txt")
    assert man.base == woman.base and _split(man) == _split(woman)
    assert len({man.base, running.base, flag.base}) == 3
    assert running.base == (0x1F3C3,)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["man astronaut", "man running"]),
        ({"flags": True}, ["man astronaut", "man running", "flag: Switzerland"]),
        ({"skin_tones": True}, ["man astronaut", "woman astronaut: dark skin tone", "man running"]),
    ],
)
def test_tones_and_flags_are_included_on_request(listed, settings, names):
    assert [symbol.name for symbol in Emoji(root=str(listed), **settings).symbols] == names


def test_absent_files_are_named_with_the_packages_that_bring_them(tmp_path):
    with pytest.raises(UserError, match=r"no emoji-test.txt in .*: set root, or install .*unicode-data"):
        Emoji(root=str(tmp_path)).read()


def test_a_file_that_is_not_a_font_is_refused(listed):
    pytest.importorskip("fontTools")
    (listed / "NotoColorEmoji.ttf").write_bytes(b"text")
    with pytest.raises(UserError, match=r"NotoColorEmoji.ttf: not a font with colour bitmaps"):
        Emoji(root=str(listed)).read()


@pytest.fixture(scope="module")
def installed():
    pytest.importorskip("fontTools")
    source = Emoji()
    try:
        return source, source.read()
    except UserError as error:
        pytest.skip(str(error))


def test_the_installed_font_has_a_picture_of_each(installed):
    source, splits = installed
    assert sum(map(len, splits.values())) == len(source.symbols) > 1500
    assert all(images.pixels.shape[1:] == (3, 136, 136) for images in splits.values())
    assert all(0.07 < len(splits[name]) / len(source.symbols) < 0.13 for name in ("val", "test"))


def test_a_red_heart_is_red_on_white(installed):
    source, splits = installed
    train = [symbol.name for symbol in source.symbols if _split(symbol) == "train"]
    pixels = splits["train"].pixels[train.index("red heart")]
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    red, green, blue = pixels[:, 68, 68].tolist()
    assert red > 180 > 80 > max(green, blue)
    assert source.class_names[splits["train"].labels[train.index("red heart")]] == "Smileys & Emotion"


def test_transparent_pixels_show_the_background(installed):
    black = Emoji(background="black").read()["test"].pixels
    assert torch.equal(black[:, :, 0, 0].amax(1), torch.zeros(len(black), dtype=torch.uint8))
