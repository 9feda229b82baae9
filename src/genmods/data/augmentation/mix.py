"""MixUp, and its components: partners within a batch, and Beta-distributed weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from genmods.core.batch import INPUT, LABEL, Batch
from genmods.core.devices import float64_device, to_float64
from genmods.core.settings import Fraction
from genmods.data.augmentation.base import Augmentation, broadcast

Alpha = Annotated[float, Ge(0.001), Le(1000)]


@dataclass
class Mixing(Augmentation):
    """Mixes each image with another image of the batch, with probability `p` and a Beta(`alpha`, `alpha`) weight."""

    alpha: Alpha = 1.0
    p: Fraction = 1.0
    mixes: ClassVar[bool] = True


@dataclass
class MixUp(Mixing):
    """Averages each image and its label with another sample of the batch, with a Beta(`alpha`, `alpha`) weight.

    Applied with probability `p` (Zhang et al. 2017).
    """

    alpha: Alpha = 0.2
    num_uniforms: ClassVar[int] = 3

    @property
    def num_choices(self) -> int:
        """The weight, and the place in the ring of partners."""
        return 2

    def choices(self, u: Tensor, height: int, width: int) -> Tensor:
        chosen, share, place = u.unbind(1)
        return torch.stack([symmetric_beta(share, self.alpha) * (chosen < self.p), place], dim=1)

    def apply(self, batch: Batch, choices: Tensor) -> Batch:
        images, labels = batch[INPUT], batch[LABEL]
        weight, place = choices.unbind(1)
        other = partners(place)
        return batch | {
            INPUT: torch.lerp(images, images[other], broadcast(weight)),
            LABEL: torch.lerp(labels, labels[other], weight[:, None]),
        }


def partners(place: Tensor) -> Tensor:
    """A partner for each sample of a batch, int64 [B]: the next one on a ring sorted by `place` [B].

    Every sample is the partner of exactly one sample; it is its own partner only in a batch of one.
    """
    ring = place.argsort(stable=True)
    other = torch.empty_like(ring)
    other[ring] = ring.roll(-1)
    return other


def symmetric_beta(u: Tensor, alpha: float) -> Tensor:
    """Quantiles of Beta(alpha, alpha) at u [B] in [0, 1), float32, from a table of 2,049 points on each half.

    Below 1/2 the substitution s = x^q, q = min(alpha, 1), makes the density s^(alpha/q - 1) (1 - s^(1/q))^(alpha - 1),
    which is smooth for every alpha, so that the trapezoidal rule is accurate; above, 1 - quantile(1 - u).
    """
    distribution, points = _half_beta(alpha, float64_device(u.device))
    lower = to_float64(torch.minimum(u, 1 - u).clamp(min=0))
    right = torch.searchsorted(distribution, lower).clamp(1, len(points) - 1)
    low, high = distribution[right - 1], distribution[right]
    s = torch.lerp(points[right - 1], points[right], (lower - low) / (high - low))
    x = s.pow(1 / min(alpha, 1)).float().to(u.device)
    return torch.where(u < 0.5, x, 1 - x)


@lru_cache(maxsize=8)
def _half_beta(alpha: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """The distribution function at 2,049 points s = x^q for x from 0 to 1/2, and these points."""
    q = min(alpha, 1)
    points = torch.linspace(0, 0.5**q, 2049, dtype=torch.float64)
    density = points.pow(alpha / q - 1) * (1 - points.pow(1 / q)).pow(alpha - 1)
    distribution = torch.cat([points.new_zeros(1), torch.cumulative_trapezoid(density, points)])
    distribution = distribution * (0.5 / distribution[-1])
    return distribution.to(device), points.to(device)
