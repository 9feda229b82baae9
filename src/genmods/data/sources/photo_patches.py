"""Patches of photographs of any size, for training restoration networks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Gt, Le
from torch import Tensor

from genmods.core import random
from genmods.core.errors import UserError
from genmods.core.settings import Count, Seed
from genmods.core.sizes import Size, sides
from genmods.data.files import read_image
from genmods.data.images import Images, Source, to_uint8
from genmods.data.preparation import Fit
from genmods.data.walk import walk

_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test",)}
_SPLIT = 31  # random stream


@dataclass
class PhotoPatches(Source):
    """Square patches at random positions of the photographs in `root`, with side `image_size`.

    Folders train, val (or validation) and test are splits; without them a tenth of the photographs each is held out for
    validation and test. All patches of a photograph are in the same split. Transparency is dropped; photographs smaller
    than a patch are extended by mirroring.

    Args:
        root: The folder.
        per_image: Patches per photograph of the training split; one central patch in the other splits.
        scale: Photographs are first resized by this factor in (0, 1]; 0.5 removes most JPEG block artefacts.
        channels: 3 for colour or 1 for grey.
        seed: The seed of positions and of held-out photographs.
    """

    root: str = "photos"
    per_image: Count = 8
    scale: Annotated[float, Gt(0), Le(1)] = 0.5
    channels: Literal[1, 3] = 3
    seed: Seed = 0

    def read(self) -> dict[str, Images]:
        return self.read_at(64)

    def read_at(self, size: Size | None, fit: Fit = "crop") -> dict[str, Images]:
        patch = sides(size or 64)
        return {name: self._patches(paths, name == "train", patch) for name, paths in self._splits().items() if paths}

    def _splits(self) -> dict[str, list[Path]]:
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise UserError(f"data.root: there is no folder {root}")
        folders = {p.name.lower(): p for p in root.iterdir() if p.is_dir()}
        named = {split: next((folders[n] for n in names if n in folders), None) for split, names in _FOLDERS.items()}
        if named["train"]:
            found = {split: walk(folder) if folder else [] for split, folder in named.items()}
        else:
            found = self._held_out(walk(root))
        if not found["train"]:
            raise UserError(f"data.root: there are no images in {named['train'] or root}")
        return found

    def _held_out(self, paths: list[Path]) -> dict[str, list[Path]]:
        u = random.uniform(random.fold(self.seed, torch.arange(len(paths))), 1, _SPLIT)[:, 0].tolist()
        ranks = {path: rank / len(paths) for rank, (_, path) in enumerate(sorted(zip(u, paths, strict=True)))}
        return {
            "train": [path for path in paths if ranks[path] < 0.8],
            "val": [path for path in paths if 0.8 <= ranks[path] < 0.9],
            "test": [path for path in paths if ranks[path] >= 0.9],
        }

    def _patches(self, paths: list[Path], many: bool, size: tuple[int, int]) -> Images:
        def cut(place: int) -> Tensor:
            photo = self._photo(paths[place], size)
            free = torch.tensor([photo.shape[1] - size[0], photo.shape[2] - size[1]])
            u = torch.full((1, 2), 0.5)
            if many:
                u = random.uniform(random.fold(self.seed, torch.arange(self.per_image) + place * self.per_image), 2)
            corners = (u * (free + 1)).long()
            return torch.stack([photo[:, t : t + size[0], k : k + size[1]] for t, k in corners.tolist()])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            patches = torch.cat(list(pool.map(cut, range(len(paths)))))
        repeats = self.per_image if many else 1
        root = Path(self.root).expanduser()
        names = [path.relative_to(root).as_posix() for path in paths for _ in range(repeats)]
        return Images(patches, None, names)

    def _photo(self, path: Path, size: tuple[int, int]) -> Tensor:
        """A photograph as uint8 [C, H, W], scaled, at least as large as a patch."""
        image = read_photo(path, self.scale)
        image = image.expand(3, -1, -1) if self.channels == 3 else image.mean(0, keepdim=True)
        rows, columns = (_mirrored(max(s, w), s) for s, w in zip(image.shape[1:], size, strict=True))
        return to_uint8(image[:, rows][:, :, columns])


def read_photo(path: Path, scale: float) -> Tensor:
    """A photograph [C, H, W] in [-1, 1], resized by `scale` in (0, 1] with bicubic interpolation and antialiasing."""
    image = read_image(path).image
    if scale == 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1:]]
    return F.interpolate(image[None], size, mode="bicubic", antialias=True, align_corners=False)[0].clamp(-1, 1)


def _mirrored(wanted: int, size: int) -> Tensor:
    """Indices [wanted] into `size` pixels, mirrored repeatedly at both ends."""
    period = max(1, 2 * (size - 1))
    index = torch.arange(wanted) % period
    return torch.minimum(index, period - index).clamp_max(size - 1)
