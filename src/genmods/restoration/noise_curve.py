"""The noise of photographs: its standard deviation per channel as a function of the brightness, white or not.

As in the Poisson-Gaussian model (Foi et al. 2008, "Practical Poissonian-Gaussian noise modeling and fitting for
single-image raw data"), the variance is a linear function of the mean. It is fitted by least absolute deviations
(Sutour, Deledalle and Aujol 2015) to estimates from the finest wavelets (`genmods.restoration.noise`) in the flatter
half of groups of similar brightness.

These wavelets contain little of the noise that a camera or JPEG has smoothed. In a flat region the variance of a block
of 8 x 8 pixels is that of the noise, whatever its spectrum above one period per block; if it exceeds the fit, the fit
is scaled. A block counts as flat if its neighbours have a low variance. The noise of neighbours is independent, so that
the selection has no bias, unlike one by the variance of the block (Ponomarenko et al. 2007; Liu, Tanaka and Okutomi
2013).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.restoration.noise import BAND, bands, details, estimate_sigma, rounding, sampled

BLOCK = 8
"""Side of a block in pixels, that of JPEG."""
MIN_BLOCKS = 96
"""The least number of useful blocks with useful neighbours of an image."""
MIN_PIXELS = MIN_BLOCKS * BLOCK**2
"""The number of pixels below which an image has fewer blocks."""
GROUPS = 6
"""The number of groups of similar brightness per channel."""
FLAT = 0.1
"""Share of the blocks of an image that count as flat."""
FINE_FREEDOM = (BLOCK - 1) ** 2 / 1.5**2
"""Degrees of freedom of the mean square of the finest diagonal details of a block of white noise, in which the
correlation of neighbours is -1/2 along each axis."""
MIN_NEIGHBORS = 4
"""The least number of useful neighbours of a flat block."""


@dataclass(frozen=True)
class NoiseCurve:
    """The variance of the noise of images as a function of their brightness: linear between two points, constant beyond
    them. All values are on the scale of [-1, 1].

    Attributes:
        light: Brightness at the points, [B, C, 2] in increasing order; with C = 1, that of all channels.
        variance: Variance at the points, [B, C, 2].
        level: Root mean square of the standard deviation over the pixels of channels with noise, [B].
        white: The share of the variance that is also found in the finest wavelets of the flattest blocks, in [0, 1],
            [B]; 1 for white noise.
    """

    light: Tensor
    variance: Tensor
    level: Tensor
    white: Tensor

    @classmethod
    def constant(cls, sigma: Tensor) -> NoiseCurve:
        """Noise of the same standard deviation `sigma` [B] in all channels and at each brightness."""
        ends = sigma.new_tensor([-1.0, 1.0]).expand(len(sigma), 1, 2)
        return cls(ends, sigma.square()[:, None, None].expand(-1, 1, 2), sigma, torch.ones_like(sigma))

    def scaled(self, share: Tensor) -> NoiseCurve:
        """The noise with `share` [B] of its standard deviation."""
        return replace(self, variance=self.variance * share.square()[:, None, None], level=self.level * share)

    def std(self, y: Tensor) -> Tensor:
        """The standard deviation per pixel [B, C, H, W] of noisy images `y`, from their mean over 5 x 5 pixels."""
        mean = F.avg_pool2d(y, 5, 1, 2, count_include_pad=False)
        return _line(mean, self.light.to(y)[..., None, None, :], self.variance.to(y)[..., None, None, :]).sqrt()


def _line(x: Tensor, ends: Tensor, values: Tensor) -> Tensor:
    """The line through `values` [..., 2] at `ends` [..., 2], at `x` [...]; constant beyond the ends."""
    share = (x - ends[..., 0]) / (ends[..., 1] - ends[..., 0]).clamp_min(1e-6)
    return torch.lerp(values[..., 0], values[..., 1], share.clamp(0, 1))


def noise_curve(y: Tensor, known: Tensor | None = None) -> NoiseCurve:
    """Estimates the noise of images, whose level is at least that of `estimate_sigma`.

    Images with few blocks of pixels that are neither clipped nor constant have that level at each brightness.

    Args:
        y: Noisy images [B, C, H, W]; clean images are in [-1, 1].
        known: The pixels to use, bool, broadcastable to `y`; by default all.

    Raises:
        UserError: As `estimate_sigma`.
    """
    sigma = estimate_sigma(y, known)
    kept = torch.ones_like(y, dtype=torch.bool) if known is None else known.to(y.device).expand_as(y)
    curves = [_of_image(image, kept[i], to_float64(sigma[i])) for i, image in enumerate(y)]
    return NoiseCurve(*(torch.stack(parts).to(sigma) for parts in zip(*curves, strict=True)))


def _of_image(image: Tensor, known: Tensor, sigma: Tensor) -> tuple[Tensor, ...]:
    """The members of the curve of one image [C, H, W]; `sigma` (float64 0-d) is its least level."""
    rows, is_last = bands(image)
    known = known[:, rows].to(sigma.device)
    image, is_last = to_float64(image[:, rows]), is_last.to(sigma.device)
    ends, white = sigma.new_tensor([-1.0, 1.0]), sigma.new_ones(())
    constant = ends.expand(len(image), 2), sigma.square().expand(len(image), 2), sigma, white
    if min(image.shape[1:]) < BLOCK:
        return constant
    mean, energy, fine, useful = _blocks(image, known)
    activity = _of_neighbors(energy.sum(0), useful)
    if (useful & activity.isfinite()).sum() < MIN_BLOCKS:
        return constant
    light, variance = _fitted(image, known & ~is_last[:, None], activity)
    expected = _line(mean, light[:, None, None], variance[:, None, None])
    predicted = expected.sum(0).clamp_min(1e-9)
    around = _of_neighbors(energy.sum(0) / predicted, useful)[useful]
    excess = ((energy - rounding(image[:, :BAND]) ** 2).sum(0) / predicted)[useful]
    factor = _low(excess[around.argsort()[: round(FLAT * len(around))]], 0.25, BLOCK**2 - 3).clamp_min(1)
    white = _low((fine.sum(0) / predicted)[useful], 0.1, FINE_FREEDOM * len(image))
    noisy = variance.any(1)
    variance, level = variance * factor, (expected[noisy].mean() * factor).sqrt() if noisy.any() else sigma
    if level < sigma:
        variance, factor = variance * (sigma / level).square(), factor * (sigma / level).square()
    return light, variance, torch.maximum(level, sigma), (white / factor).clamp(0, 1)


def _fitted(image: Tensor, known: Tensor, activity: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness and variance [C, 2] at the ends of the fit of each channel of an image [C, H, W], from its details
    where the `activity` of the blocks [h, w] is low."""
    lines = []
    rows, columns = (torch.arange(side - 1, device=image.device) // BLOCK for side in image.shape[1:])
    around = activity[rows.clamp_max(len(activity) - 1)][:, columns.clamp_max(activity.shape[1] - 1)][None]
    for channel, kept in zip(image.split(1), known.split(1), strict=True):
        found = details(channel, kept)
        if not found.used.any():
            lines.append((image.new_tensor([-1.0, 1.0]), image.new_zeros(2)))
            continue
        edges = torch.quantile(sampled(found.mean[found.used], 50_000), torch.linspace(0, 1, GROUPS + 1).to(image))
        groups = [found.used & (found.mean >= low) & (found.mean <= high) for low, high in pairwise(edges)]
        flat = [group & (around <= around[group].median()) for group in groups]
        x = torch.stack([found.mean[group].mean() for group in flat])
        lines.append(_robust_line(x, torch.stack([found.sigma(group) for group in flat]).square()))
    ends, values = zip(*lines, strict=True)
    return torch.stack(ends), torch.stack(values)


def _robust_line(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The line of least absolute deviations relative to `y` [N] at the increasing `x` [N]: `x` and values [2] at its
    ends. It passes through two of the points, or is constant."""
    ends, lines = torch.stack([x[0], x[-1]]), [y.median().expand(2)]
    for i, j in combinations(range(len(x)), 2):
        lines.append((y[i] + (y[j] - y[i]) * (ends - x[i]) / (x[j] - x[i]).clamp_min(1e-6)).clamp_min(0))
    misfit = [((_line(x, ends, line) - y) / y.clamp_min(1e-9)).abs().sum() for line in lines]
    return ends, lines[int(torch.stack(misfit).argmin())]


def _blocks(image: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The blocks of an image [C, H, W]: mean, variance after subtraction of a plane, and mean square of the finest
    diagonal details, [C, h, w], and whether they are known and neither clipped nor constant, bool [h, w]."""
    height, width = (side // BLOCK * BLOCK for side in image.shape[1:])
    blocks = image[:, :height, :width].unfold(1, BLOCK, BLOCK).unfold(2, BLOCK, BLOCK)
    mean = blocks.mean((-1, -2))
    place = torch.arange(BLOCK).to(image) - (BLOCK - 1) / 2
    planes = [(blocks * axis).sum((-1, -2)).square() for axis in (place, place[:, None])]
    energy = (blocks - mean[..., None, None]).square().sum((-1, -2)) - sum(planes) / (BLOCK * place.square().sum())
    energy = energy.clamp_min(0) / (BLOCK**2 - 3)
    left_out = ((image.abs() >= 1) & (image.abs().amax() <= 1)) | ~known
    bad = F.max_pool2d(left_out[:, :height, :width].to(image), BLOCK).bool().any(0)
    fine = (blocks.diff(dim=-1).diff(dim=-2) / 2).square().mean((-1, -2))
    return mean, energy, fine, ~bad & (energy > 1e-9).any(0)


def _low(values: Tensor, share: float, freedom: float) -> Tensor:
    """The mean of variances [N] from their quantile `share`, to which texture adds least; the estimates of these
    variances have `freedom` degrees of freedom (Wilson and Hilferty 1931)."""
    normal = torch.special.ndtri(torch.tensor(share, dtype=torch.float64)).item()
    return torch.quantile(values, share) / (1 - 2 / (9 * freedom) + normal * (2 / (9 * freedom)) ** 0.5) ** 3


def _of_neighbors(values: Tensor, useful: Tensor) -> Tensor:
    """The mean of `values` [h, w] over the useful ones of the eight neighbours of each block; infinite if these are
    fewer than `MIN_NEIGHBORS`."""
    weight = useful.to(values)
    total, count = (9 * F.avg_pool2d(x[None], 3, 1, 1)[0] - x for x in (values * weight, weight))
    return torch.where(count > MIN_NEIGHBORS - 0.5, total / count, torch.inf)
