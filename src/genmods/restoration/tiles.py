"""Images of any size with a denoiser of fixed size: overlapping tiles, blended in every call.

Each call cuts the image into tiles, denoises them as a batch and sums them with windows that add up to 1. Sampler and
guidance operate on the full image, so that the tiles of a sample are consistent and no seams appear (Bar-Tal et al.
2023, "MultiDiffusion"). A side shorter than a tile is extended by mirroring.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.core.progress import Progress
from genmods.diffusion.denoiser import Condition, Denoise
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import NoiseProcess


@dataclass(frozen=True)
class Tiled:
    """A denoiser of images of any size, made from one of a fixed size.

    Attributes:
        bind: `bind(cond)` is the denoiser of tiles with the condition `cond`.
        cond: The condition of the images; its member "image" [B, K, H, W] is cut into tiles like the images.
        height, width: Size of a tile, the input size of the denoiser.
        overlap: Fraction of a tile that overlaps with its neighbour.
        batch: The largest number of tiles per call.
        progress: Called as `progress(done, total)` with numbers of tiles, in each call.
    """

    bind: Callable[[Condition], Denoise]
    cond: Condition
    height: int
    width: int
    overlap: float = 0.5
    batch: int = 256
    progress: Progress | None = None

    @property
    def process(self) -> NoiseProcess:
        return self.bind(self.cond).process

    def __call__(self, x: Tensor, t: Tensor) -> Estimate:
        rows, columns = self._places(x.shape[2], self.height), self._places(x.shape[3], self.width)
        corners = [(row, column) for row in rows for column in columns]
        together = max(1, self.batch // len(x))
        wide = (*x.shape[:2], max(x.shape[2], self.height), max(x.shape[3], self.width))
        total = torch.zeros(2, *wide, dtype=x.dtype, device=x.device)
        weight = torch.zeros(wide[2:], dtype=x.dtype, device=x.device)
        window = torch.outer(self._ramp(self.height), self._ramp(self.width)).to(x)
        mirrored = _mirrored(x, *wide[2:])
        cond = self.cond | ({"image": _mirrored(self.cond["image"], *wide[2:])} if "image" in self.cond else {})
        for start in range(0, len(corners), together):
            some = corners[start : start + together]
            estimate = self.bind(self._conditions(cond, some))(self._cut(mirrored, some), t.repeat(len(some)))
            pieces = torch.stack([estimate.x0, estimate.eps]).chunk(len(some), dim=1)
            for (r, c), piece in zip(some, pieces, strict=True):
                place = (..., slice(r, r + self.height), slice(c, c + self.width))
                total[place] += piece * window
                weight[place] += window
            if self.progress is not None:
                self.progress(start + len(some), len(corners))
        x0, eps = (total / weight)[..., : x.shape[2], : x.shape[3]]
        return Estimate(x0, eps)

    def _cut(self, images: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        return torch.cat([images[:, :, r : r + self.height, c : c + self.width] for r, c in corners])

    def _conditions(self, cond: Condition, corners: list[tuple[int, int]]) -> Condition:
        """The condition of the tiles at `corners`."""
        repeated = {name: torch.cat([value] * len(corners)) for name, value in cond.items() if name != "image"}
        return repeated | ({"image": self._cut(cond["image"], corners)} if "image" in cond else {})

    def _places(self, size: int, tile: int) -> list[int]:
        """Start positions of tiles along a side: at both ends and evenly spaced between them."""
        stride = max(1, round(tile * (1 - self.overlap)))
        count = 1 + math.ceil(max(0, size - tile) / stride)
        return [round(i * (size - tile) / (count - 1)) for i in range(count)] if count > 1 else [0]

    def _ramp(self, tile: int) -> Tensor:
        """A window along a side: increasing and decreasing over the overlap, never 0."""
        reach = max(1, round(tile * self.overlap))
        distance = torch.minimum(torch.arange(tile) + 1, torch.arange(tile, 0, -1)).float()
        return torch.sin(0.5 * math.pi * (distance / (reach + 1)).clamp_max(1)) ** 2


def _mirrored(images: Tensor, height: int, width: int) -> Tensor:
    """Images [B, C, H, W] extended by mirroring."""
    return images[:, :, _mirror(height, images.shape[2])][:, :, :, _mirror(width, images.shape[3])]


def _mirror(length: int, size: int) -> Tensor:
    """Indices 0 ... length-1 into a side of `size`, mirrored at the end."""
    index = torch.arange(length) % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)
