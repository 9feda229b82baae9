"""Pairs of images in folders `input` and `target`, for image-to-image models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from genmods.core.errors import UserError
from genmods.core.printable import counted
from genmods.core.settings import Channels
from genmods.core.sizes import Size, sides
from genmods.data.decoding import stored_files
from genmods.data.images import Images, Source
from genmods.data.kept.pixels import in_memory
from genmods.data.preparation import Background, Fit, Preparation
from genmods.data.walk import walk

_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}


@dataclass
class PairedFolder(Source):
    """The images in the folder `target` of `root`, each with the image of the same name in the folder `input`.

    With folders train, val (or validation) and test, each contains the two folders. Names are paths without suffix,
    such as `a/1` for `input/a/1.png` and `target/a/1.jpg`. Both images are resized to the `image_size` of ImageData; 8
    bits per channel are kept.

    Args:
        root: The folder.
        channels: 3 for colour or 1 for grey, for both images; by default 1 if all files are grey.
        background: The colour of transparent pixels, and of the border of `fit: pad`.
    """

    root: str = "pairs"
    channels: Channels | None = None
    background: Background = "white"

    def __post_init__(self) -> None:
        self._used: Preparation | None = None

    @property
    def preparation(self) -> Preparation | None:
        return self._used

    def read(self) -> dict[str, Images]:
        return self.read_at(None)

    def read_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        root = Path(self.root).expanduser()
        pairs = {split: _pairs(folder) for split, folder in _splits(root).items()}
        paths = [path for found in pairs.values() for pair in found.values() for path in pair]
        size = None if size is None else sides(size)
        wish = Preparation(size, self.channels, fit, self.background, levels=256)
        stored, _, broken, self._used, _ = stored_files(paths, wish)
        pixels = in_memory(stored)
        if broken:
            raise UserError(f"{len(broken):,} of {counted(len(paths), 'image')} cannot be read:", *broken)
        splits, start = {}, 0
        for split, found in pairs.items():
            places = start + 2 * torch.arange(len(found))
            names = [target.relative_to(root).as_posix() for _, target in found.values()]
            splits[split] = Images(pixels[places + 1], names=names, paired=pixels[places])
            start += 2 * len(found)
        return splits


def _splits(root: Path) -> dict[str, Path]:
    """The folder of each split. Raises UserError if there is no training split."""
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}")
    named = {split: next((root / n for n in names if (root / n).is_dir()), None) for split, names in _FOLDERS.items()}
    found = {split: folder for split, folder in named.items() if folder is not None}
    return found if "train" in found else {"train": root}


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The input and target of each name. Raises UserError if one of them is missing."""
    both: list[dict[str, Path]] = []
    for name in ("input", "target"):
        inner = folder / name
        if not inner.is_dir():
            raise UserError(f"data.root: {folder} must contain the folders input and target, there is no {inner}")
        found: dict[str, Path] = {}
        for path in walk(inner):
            key = path.relative_to(inner).with_suffix("").as_posix()
            if key in found:
                raise UserError(f"{path}: {found[key].name} has the same name without its suffix")
            found[key] = path
        both.append(found)
    inputs, targets = both
    if alone := sorted(set(inputs) ^ set(targets)):
        path = inputs.get(alone[0]) or targets[alone[0]]
        other = "target" if alone[0] in inputs else "input"
        count = f"{counted(len(alone), 'image')} without a partner"
        raise UserError(f"{path}: there is no image of this name in {folder / other} ({count})")
    if not targets:
        raise UserError(f"data.root: there are no images in {folder / 'target'}")
    return {name: (inputs[name], targets[name]) for name in sorted(targets)}
