"""The bitmaps of a colour emoji font, with the groups of Unicode as classes; available on any Debian."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.data.images import Images, Source
from genmods.data.locations import candidates

_FONT = ("NotoColorEmoji.ttf", "/usr/share/fonts/truetype/noto")
_LIST = ("emoji-test.txt", "/usr/share/unicode/emoji")
_LINE = re.compile(r"(?P<sequence>[0-9A-F ]+?) *; fully-qualified +# \S+ E[0-9.]+ (?P<name>.+)")

_PRESENTATION, _JOINER, _ADULT, _CHILD = 0xFE0F, 0x200D, 0x1F9D1, 0x1F9D2
_TONES = range(0x1F3FB, 0x1F400)
_UNSPECIFIC = {_PRESENTATION, _JOINER, 0x2640, 0x2642, 0x27A1, *_TONES, *range(0x1F9B0, 0x1F9B4)}  # gender, hair, side
_PEOPLE = {0x1F468: _ADULT, 0x1F469: _ADULT, 0x1F466: _CHILD, 0x1F467: _CHILD}


class Symbol(NamedTuple):
    """An emoji: its code points, its group and its name in Unicode."""

    sequence: tuple[int, ...]
    group: str
    name: str

    @property
    def has_tone(self) -> bool:
        """Whether it has a skin tone modifier."""
        return any(point in _TONES for point in self.sequence)

    @property
    def base(self) -> tuple[int, ...]:
        """The code points without skin tone, gender, hair and direction, common to all its variants."""
        return tuple(_PEOPLE.get(point, point) for point in self.sequence if point not in _UNSPECIFIC)


@dataclass
class Emoji(Source):
    """Colour emoji, 136 x 136 RGB before resizing, with Unicode's groups (food and drink, ...) as classes.

    The images are the bitmaps of Google's Noto Color Emoji (OFL; Debian: fonts-noto-color-emoji), read by fontTools.
    Names and groups come from Unicode's emoji-test.txt (Debian: unicode-data). Both files are searched for in `root`,
    GENMODS_DATA and Debian's folders. 10 % of the emoji are the test split and 10 % the validation split; variants of
    an emoji (skin tone, gender, hair) are in the same split.

    Args:
        root: The folder with NotoColorEmoji.ttf and emoji-test.txt.
        skin_tones: Whether to include variants with a skin tone, 1,785 more in Unicode 15.
        flags: Whether to include the group of flags. Without both, Unicode 15 has 1,601 images in 8 classes.
        background: The colour of transparent pixels.
    """

    root: str | None = None
    skin_tones: bool = False
    flags: bool = False
    background: Literal["white", "black"] = "white"

    def read(self) -> dict[str, Images]:
        symbols, glyphs = self.symbols, _Glyphs(_find(self.root, *_FONT))
        found = [(symbol, glyphs.picture(symbol.sequence, self.background == "white")) for symbol in symbols]
        drawn = [(symbol, picture) for symbol, picture in found if picture is not None]
        splits = np.array([_split(symbol) for symbol, _ in drawn])
        everything = Images(
            torch.stack([picture for _, picture in drawn]),
            torch.tensor([self.class_names.index(symbol.group) for symbol, _ in drawn]),
        )
        return {
            name: everything.select(torch.from_numpy((splits == name).nonzero()[0]))
            for name in ("train", "val", "test")
        }

    @property
    def kind_of_labels(self) -> LabelKind:
        return "class"

    @property
    def class_names(self) -> list[str]:
        return list(dict.fromkeys(symbol.group for symbol in self.symbols))

    @cached_property
    def symbols(self) -> list[Symbol]:
        """The emoji selected by the settings, in Unicode's order."""
        return [
            symbol
            for symbol in _symbols(_find(self.root, *_LIST))
            if (self.skin_tones or not symbol.has_tone) and (self.flags or symbol.group != "Flags")
        ]


def _find(root: str | None, name: str, place: str) -> Path:
    folders = candidates(root, ["emoji"], [place])
    path = next((folder / name for folder in folders if os.access(folder / name, os.R_OK)), None)
    if path is None:
        places = ", ".join(str(folder) for folder in folders)
        raise UserError(f"no {name} in {places}: set root, or install fonts-noto-color-emoji and unicode-data (Debian)")
    return path


def _symbols(path: Path) -> Iterator[Symbol]:
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        elif match := _LINE.match(line):
            yield Symbol(tuple(int(point, 16) for point in match["sequence"].split()), group, match["name"])


def _split(symbol: Symbol) -> str:
    """The split of an emoji, a function of its base."""
    lot = hashlib.blake2b(repr(symbol.base).encode(), digest_size=2).digest()
    tenth = int.from_bytes(lot) * 10 >> 16
    return {0: "test", 1: "val"}.get(tenth, "train")


class _Glyphs:
    """The bitmaps of a font with the tables CBDT and GSUB (OpenType 1.9); ligatures map a sequence to a glyph."""

    def __init__(self, path: Path) -> None:
        try:
            from fontTools.ttLib import TTFont, TTLibError
        except ImportError:
            raise UserError("the data set emoji requires fontTools: pip install fonttools") from None
        try:
            font: Any = TTFont(path)
            self.names, self.bitmaps = font.getBestCmap(), font["CBDT"].strikeData[0]
            tables = [table for lookup in font["GSUB"].table.LookupList.Lookup for table in lookup.SubTable]
        except (TTLibError, KeyError, IndexError) as error:
            raise UserError(f"{path}: not a font with colour bitmaps: {error}") from None
        self.ligatures = {
            (first, *ligature.Component): ligature.LigGlyph
            for table in tables
            for first, ligatures in getattr(table, "ligatures", {}).items()
            for ligature in ligatures
        }

    def picture(self, sequence: tuple[int, ...], white: bool) -> Tensor | None:
        """An emoji centred on its background, uint8 [3, 136, 136]; None if the font does not contain it."""
        from PIL import Image

        names = tuple(self.names.get(point) for point in sequence if point != _PRESENTATION)
        glyph = names[0] if len(names) == 1 else self.ligatures.get(names)
        if glyph not in self.bitmaps:
            return None
        image = Image.open(io.BytesIO(self.bitmaps[glyph].imageData)).convert("RGBA")
        side = max(image.size)
        ground = Image.new("RGBA", (side, side), "white" if white else "black")
        ground.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
        return torch.from_numpy(np.asarray(ground.convert("RGB")).copy()).permute(2, 0, 1)
