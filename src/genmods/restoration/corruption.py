"""Corruptions of clean images in [-1, 1], and the standard deviation of their noise per pixel.

Random numbers are drawn from one key per image. `std(x)` is the standard deviation of the noise for the clean image
`x`; it whitens signal-dependent noise: y/std(x) has unit noise and is a measurement of the diagonal operator 1/std(x).
"""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le, MinLen
from torch import Tensor

from genmods.core import random
from genmods.core.settings import NonNegative, Positive, Rate, Validated


def _normal(x: Tensor, keys: Tensor) -> Tensor:
    return random.normal(keys, x[0].numel()).view(x.shape).to(x)


NoiseKind = Literal["gaussian", "other", "none"]
"""Gaussian noise that is independent between pixels, at least nearly (photons); other noise; or none."""


class Corruption(Validated, ABC):
    """The registry kind `corruption`: a random map of images [B, C, H, W] in [-1, 1] to corrupted images."""

    _noise: NoiseKind = "other"

    @property
    def noise(self) -> NoiseKind:
        """The kind of its noise."""
        return self._noise

    @abstractmethod
    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        """Corrupts `x`; image i depends on x[i] and `keys[i]` (int64 [B]) only. The result may exceed [-1, 1]."""

    @abstractmethod
    def std(self, x: Tensor) -> Tensor:
        """The standard deviation of the noise per pixel for clean images `x`, on the scale of [-1, 1]."""

    def noise_std(self, x: Tensor, keys: Tensor) -> Tensor:
        """Like `std`, for corruptions that differ between images, as drawn by `keys` (int64 [B])."""
        return self.std(x)

    def covers(self, other: Corruption) -> bool:
        """Whether a model that was trained for this corruption was also trained for `other`."""
        return self == other


@dataclass
class GaussianNoise(Corruption):
    """Adds white Gaussian noise of standard deviation `sigma`, on the scale of 0 to 255."""

    _noise = "gaussian"
    sigma: NonNegative = 25.0

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        return x + self.std(x) * _normal(x, keys)

    def std(self, x: Tensor) -> Tensor:
        return torch.full_like(x, 2 * self.sigma / 255)


def _poisson(rate: Tensor, seed: int) -> Tensor:
    return torch.poisson(rate, generator=torch.Generator().manual_seed(seed))


@dataclass
class PoissonNoise(Corruption):
    """Photon noise: a white pixel receives `peak` photons on average, a black one none."""

    _noise = "gaussian"
    peak: Positive = 30.0

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        rate = self.peak * (x.cpu().double().clamp(-1, 1) + 1) / 2
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # torch.poisson runs in one thread
            counts = list(pool.map(_poisson, rate, keys.tolist()))
        return (torch.stack(counts) * (2 / self.peak) - 1).to(x)

    def std(self, x: Tensor) -> Tensor:
        """√rate/peak on [0, 1], with rates of at least half a photon."""
        rate = (self.peak * (x.clamp(-1, 1) + 1) / 2).clamp_min(0.5)
        return rate.sqrt() * (2 / self.peak)


@dataclass
class SpeckleNoise(Corruption):
    """Multiplies the intensity, in [0, 1], by 1 + `level`·n."""

    _noise = "gaussian"
    level: NonNegative = 0.2

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        return x + self.level * (x + 1) * _normal(x, keys)

    def std(self, x: Tensor) -> Tensor:
        """`level` times the intensity, at least a quarter of one of 256 grey levels."""
        return (self.level * (x.clamp(-1, 1) + 1)).clamp_min(0.5 / 255)


@dataclass
class SaltAndPepper(Corruption):
    """Sets a `fraction` of the pixels to black or white with equal probability, in all channels."""

    fraction: Rate = 0.1

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        u = random.uniform(keys, x[0, 0].numel()).view(len(x), 1, *x.shape[2:]).to(x.device)
        return torch.where(u < self.fraction, torch.where(u < self.fraction / 2, -1.0, 1.0), x).to(x.dtype)

    def std(self, x: Tensor) -> Tensor:
        """The root mean square change of a pixel, √(fraction·(1 + x²))."""
        return (self.fraction * (1 + x.square())).sqrt()


@dataclass
class SensorNoise(Corruption):
    """The noise of a camera sensor in image files: dependent on the signal and the channel, and spatially correlated.

    The variance of a pixel is `read`² + `gain`·(grey level), on the scale of 0 to 255. The noise is then smoothed by a
    Gaussian of `blur` pixels, like the effect of demosaicing, and rescaled to the same variance.

    Args:
        read: Standard deviation of the noise of black pixels, on the scale of 0 to 255: one value, or one per channel.
        gain: Variance per grey level of the clean image.
        blur: Standard deviation of the smoothing in pixels; 0 for white noise.
    """

    read: Annotated[list[NonNegative], MinLen(1)] = field(default_factory=lambda: [3.0])
    gain: NonNegative = 0.0
    blur: Annotated[NonNegative, Le(1000)] = 0.0

    @property
    def noise(self) -> NoiseKind:
        return "other" if self.blur > 0 else "gaussian"

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        noise = _normal(x, keys)
        if self.blur > 0:
            radius = min(math.ceil(3 * self.blur), *x.shape[2:])
            weights = torch.arange(-radius, radius + 1).div(self.blur).square().mul(-0.5).exp()
            weights = (weights / weights.norm()).to(x)
            padded = F.pad(noise, (radius,) * 4, mode="circular").flatten(0, 1)[:, None]
            noise = F.conv2d(F.conv2d(padded, weights[None, None, None]), weights[None, None, :, None]).view_as(x)
        return x + self.std(x) * noise

    def std(self, x: Tensor) -> Tensor:
        read = torch.tensor(self.read, dtype=x.dtype, device=x.device)
        if len(read) not in (1, x.shape[1]):
            raise ValueError(f"read must have 1 value or one per channel, {x.shape[1]}, got {len(read)}")
        light = (x.clamp(-1, 1) + 1) * 127.5
        return (read.view(1, -1, 1, 1).square() + self.gain * light).sqrt() * (2 / 255)


@dataclass
class Jpeg(Corruption):
    """JPEG compression at 8 bits with `quality` 1 to 95, without chroma subsampling."""

    _noise = "none"
    quality: Annotated[int, Ge(1), Le(95)] = 20

    def __call__(self, x: Tensor, keys: Tensor) -> Tensor:
        return torch.stack([self._compress(image) for image in x])

    def _compress(self, image: Tensor) -> Tensor:
        import numpy as np
        from PIL import Image

        if image.shape[0] not in (1, 3):
            raise ValueError(f"JPEG requires images of 1 or 3 channels, got {image.shape[0]}")
        pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels.squeeze(-1) if image.shape[0] == 1 else pixels).save(
            buffer, "JPEG", quality=self.quality, subsampling=0
        )
        decoded = torch.from_numpy(np.array(Image.open(buffer))).view(*image.shape[1:], -1).permute(2, 0, 1)
        return decoded.to(image) / 127.5 - 1

    def std(self, x: Tensor) -> Tensor:
        """The root mean square error of compressing `x`, per image."""
        error = (self(x, torch.zeros(len(x), dtype=torch.int64)) - x).square().mean((1, 2, 3), keepdim=True)
        return error.sqrt().clamp_min(0.5 / 255).expand_as(x)
