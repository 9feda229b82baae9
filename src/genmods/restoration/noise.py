"""Estimation of the noise level from a single image.

The diagonal Haar band (a - b - c + d)/2 of white noise has the standard deviation of the noise, and contains little
else of most images, so that the median of its absolute values over 0.6745 is an estimate (Donoho and Johnstone 1994).
Image files require four corrections. Exactly constant blocks, to which no noise was added, carry no information and are
left out. Quantized images have few distinct values: the median is interpolated within the quantization cell of a value.
Clipped pixels are left out; the rest is a truncated normal distribution, whose standard deviation is a known fraction
of σ. On a black or white background half of the noise is clipped: the unclipped pixels are half-normal, with the same
median over 0.6745.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.core.errors import UserError
from genmods.core.image_range import check_finite

NORMAL_MAD = 0.6745
MIN_SAMPLES = 32
DECIMALS = 5
"""Resolution of pixel differences: float32 images are exact to 7 decimals, and a level of 16 bits is 3e-5."""
_AROUND = 7
"""Side in blocks of the neighbourhood in which few blocks are constant if there is noise."""
_CONTRAST = 0.4
"""The largest tenth of the details of a drawing of black and white exceeds this."""
_WIDEST = 0.5
"""The largest median distance of a clipped background from its end, for noise of 0.74."""
_FEW, _APART = 4, 7 / 255
"""Numbers of values of an image without noise, if they differ by more than three of 256 grey levels."""
SAMPLED = 250_000
"""Approximate number of pixels of a large image that are used; the standard error is then about 0.2 %."""
BAND = 32
"""Rows of a large image that are used together."""
ROUNDS = 20
"""Fixed-point iterations, each of which at least halves the error."""


def estimate_sigma(y: Tensor, known: Tensor | None = None) -> Tensor:
    """The standard deviation [B] of white noise in images `y` [B, C, H, W] in [-1, 1], on that scale.

    For quantized images, the noise must be of about one grey level or more. Only pixels where `known` (bool,
    broadcastable to `y`) is true are used, by default all.

    Raises UserError for images of less than 2 x 2 pixels, if no block of 2 x 2 pixels is known, and if one is not
    finite.
    """
    check_finite(y if known is None else torch.where(known.to(y.device), y, 0))
    if min(y.shape[-2:]) < 2:
        raise UserError(f"a noise level cannot be estimated from {y.shape[-2]} x {y.shape[-1]} pixels")
    kept = None if known is None else known.to(y.device).expand_as(y)
    return torch.stack([_of_image(image, None if kept is None else kept[i]) for i, image in enumerate(y)]).to(y)


def rounding(y: Tensor) -> float:
    """The standard deviation of the rounding error of `y` [B, ...], on the scale of [-1, 1], if its values are grey
    levels of 8 or 16 bits; otherwise 0."""
    for white, tolerance in ((255, 1e-3), (65535, 0.02)):
        levels = (to_float64(y) + 1) * (white / 2)
        if (levels - levels.round()).abs().max() < tolerance:
            return 2 / white / 12**0.5
    return 0.0


def _of_image(image: Tensor, known: Tensor | None) -> Tensor:
    """The estimate for one image [C, H, W], from some of its rows if it is large and they contain known pixels."""
    known = torch.ones_like(image, dtype=torch.bool) if known is None else known
    rows, is_last = bands(image)
    parts = known[:, rows] & ~is_last[:, None]
    if len(rows) < image.shape[1] and parts.sum() > known.sum() * len(rows) / image.shape[1] / 2:
        return _of_one(to_float64(image[:, rows]), parts)
    return _of_one(to_float64(image), known)


def bands(image: Tensor) -> tuple[Tensor, Tensor]:
    """Evenly spaced bands of rows with about `SAMPLED` pixels in all: the rows, int64 [N], and whether each is the last
    of its band, bool [N]."""
    height, width = image.shape[1:]
    count = max(1, SAMPLED // (BAND * width))
    if (count + 1) * BAND >= height:
        return torch.arange(height, device=image.device), torch.zeros(height, dtype=torch.bool, device=image.device)
    starts = (torch.arange(count) * (height - BAND) // max(1, count - 1))[:, None]
    rows = (starts + torch.arange(BAND)).flatten()
    return rows.to(image.device), (torch.arange(len(rows)) % BAND == BAND - 1).to(image.device)


def _of_one(image: Tensor, known: Tensor) -> Tensor:
    known = known.to(image.device)
    clipped = _from_clipped_ground(torch.where(known, image, 0), known)
    return details(image, known).sigma() if clipped is None else clipped


@dataclass(frozen=True)
class Details:
    """The finest diagonal details of an image.

    Attributes:
        band: Absolute coefficients, one per place of a block of 2 x 2 pixels, [C, H - 1, W - 1].
        mean: Mean of the pixels around each block that are not clipped, [C, H - 1, W - 1].
        used: Blocks that are known and not constant, and contain no clipped pixel if others remain, bool
            [C, H - 1, W - 1].
        truncated: Whether clipped pixels were left out.
    """

    band: Tensor
    mean: Tensor
    used: Tensor
    truncated: bool

    def sigma(self, chosen: Tensor | None = None) -> Tensor:
        """The standard deviation of the noise in the used blocks, or those of them that are `chosen`, bool [C, H - 1,
        W - 1]; 0 without any."""
        places = self.used if chosen is None else self.used & chosen
        if not places.any():
            return self.band.new_zeros(())
        sigma = _median(self.band[places]) / NORMAL_MAD
        if not self.truncated or sigma == 0:
            return sigma
        return _untruncated(sigma, sampled(self.mean[places], 4_000))


def details(image: Tensor, known: Tensor) -> Details:
    """The details of an image, float64 [C, H, W], at pixels where `known` (bool [C, H, W]) is true.

    Raises UserError if no block of 2 x 2 pixels is known.
    """
    whole = F.max_pool2d((~known).to(image), 2, 1) == 0
    if not whole.any():
        raise UserError("a noise level cannot be estimated: no block of 2 x 2 pixels is known")
    image = torch.where(known, image, 0)
    band = (image[:, :-1, :-1] - image[:, :-1, 1:] - image[:, 1:, :-1] + image[:, 1:, 1:]).abs() / 2
    saturated = (image.abs() >= 1) & (image.abs().amax() <= 1)
    useful = _may_have_noise(image, whole, saturated, band)
    inside = useful & ~F.max_pool2d(saturated.to(image), 2, 1).bool()
    truncated = bool(saturated.any()) and int(inside.sum()) >= MIN_SAMPLES
    return Details(band, _local_mean(image, known & ~saturated), inside if truncated else useful, truncated)


def _may_have_noise(image: Tensor, whole: Tensor, saturated: Tensor, band: Tensor) -> Tensor:
    """The blocks among `whole` (bool [C, H - 1, W - 1]) in which an image [C, H, W] with the details `band` may have
    noise: bool, likewise.

    In a drawing or a text the blocks at edges are not constant, but many blocks around them are; noise leaves few
    blocks constant. If most blocks that are not constant have such neighbours, or the image has few values, it has no
    noise. Clipped blocks count twice if the edges are strong, as those of black on white, otherwise not: they may be
    noise around black.
    """
    constant = whole & (F.max_pool2d(image, 2, 1) == -F.max_pool2d(-image, 2, 1))
    clipped = constant & saturated[:, :-1, :-1]
    shares = (F.avg_pool2d(part.to(image)[None], _AROUND, 1, _AROUND // 2)[0] for part in (whole, constant, clipped))
    known, alike, ends = shares
    useful = whole & ~constant
    strong = bool(useful.any()) and torch.quantile(sampled(band[useful], 50_000), 0.9) > _CONTRAST
    edges = useful & ((alike + ends if strong else alike - ends) > known / 2)
    if 2 * edges.sum() > useful.sum():
        return torch.zeros_like(useful)
    few = [_has_few_values(channel) for channel in image]
    return useful & ~torch.tensor(few, device=image.device)[:, None, None]


def _has_few_values(values: Tensor) -> bool:
    """Whether `values` [...] are at most `_FEW` different ones, which are not successive grey levels of 8 bits."""
    found = values.unique()
    return len(found) <= _FEW and bool((found.diff() > _APART).all())


def sampled(values: Tensor, largest: int) -> Tensor:
    """About evenly spaced ones of `values` [N], at most `largest`."""
    return values[:: -(-len(values) // largest)]


def _median(values: Tensor) -> Tensor:
    """The median of `values` [N] >= 0, each of which represents the interval of numbers closer to it than to other
    values."""
    places, counts = values.round(decimals=DECIMALS).unique(return_counts=True)
    middles = (places[1:] + places[:-1]) / 2
    first = (2 * places[:1] - middles[:1]).clamp_min(0) if len(middles) else places
    edges = torch.cat([first, middles, places[-1:]])
    below = torch.cat([torch.zeros_like(places[:1]), counts.cumsum(0) / counts.sum()])
    k = torch.searchsorted(below, 0.5).sub(1).clamp_min(0)
    return edges[k] + (0.5 - below[k]) / (below[k + 1] - below[k]) * (edges[k + 1] - edges[k])


def _local_mean(image: Tensor, kept: Tensor) -> Tensor:
    """The mean [C, H - 1, W - 1] of the `kept` pixels among the 6 x 6 around each block of 2 x 2."""
    weight = kept.to(image)
    total, count = (F.avg_pool2d(F.pad(x[None], (2, 2, 2, 2)), 6, 1)[0] for x in (image * weight, weight))
    return total / count.clamp_min(1 / 72)


def _untruncated(std: Tensor, mean: Tensor) -> Tensor:
    """σ of noise whose standard deviation is `std` (0-d) within (-1, 1), if the pixels in that range have the means
    `mean` [N]. For a normal variable truncated between α and β standard deviations, with Z = Φ(β) - Φ(α),

    the mean is μ + σ d, d = (φ(α) - φ(β))/Z, and the variance σ² (1 + (α φ(α) - β φ(β))/Z - d²).
    """
    sigma, center = std, mean
    for _ in range(ROUNDS):
        low, high = (-1 - center) / sigma, (1 - center) / sigma
        share = (torch.special.ndtr(high) - torch.special.ndtr(low)).clamp_min(1e-6)
        left, right = (torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) / share for x in (low, high))
        shift = left - right
        part = (1 + low * left - high * right - shift.square()).clamp_min(0.1)
        sigma, center = std / part.sqrt().mean(), (mean - sigma * shift).clamp(-1, 1)
    return sigma


def _from_clipped_ground(image: Tensor, known: Tensor) -> Tensor | None:
    """σ from a black or white background with clipped noise: regions where about half of the neighbours are
    saturated."""
    if image.amax() > 1 or image.amin() < -1:
        return None
    for end in (-1.0, 1.0):
        saturated = known & (image == end)
        counts = (
            F.avg_pool2d(part.to(image)[None], 5, 1, 2, count_include_pad=False)[0] for part in (saturated, known)
        )
        share = next(counts) / next(counts).clamp_min(0.04)
        region = known & ((share - 0.5).abs() < 0.2)
        ground = region & ~saturated
        # Clipping removes half of the noise of a background, and less of that of greys near the end: 42 % in the region
        # of a smooth transition to it.
        distance = (image[ground] - end).abs()
        enough = len(distance) >= max(MIN_SAMPLES, int(saturated.sum()) // 2) and share[region].mean() > 0.46
        if enough and _is_half_normal(distance):
            return _of_half_normal(distance)
    return None


def _is_half_normal(distance: Tensor) -> bool:
    """Whether the quartiles of the distances [N] of a background have about the ratios of a half-normal distribution,
    1 : 2.1 : 3.6, and do not reach the other end; those of drawings and text are different."""
    low, middle, high = torch.quantile(sampled(distance, 50_000), distance.new_tensor([0.25, 0.5, 0.75])).tolist()
    return 1.4 * low < middle < _WIDEST and 1.35 * middle < high < 2.2 * middle


def _of_half_normal(distance: Tensor) -> Tensor:
    """σ from the distances [N] on a clipped background, which start half a grey level away from the end."""
    middle, start = _median(distance), distance.amin() / 2
    sigma = middle / NORMAL_MAD
    for _ in range(ROUNDS):
        gone = torch.special.erf(start / sigma / math.sqrt(2))
        sigma = middle / torch.special.ndtri((3 + gone) / 4)
    return sigma
