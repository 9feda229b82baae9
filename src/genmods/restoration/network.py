"""A network that restores images in one call, and its use as a diffusion denoiser if it receives the noise level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.errors import UserError, first_line
from genmods.core.image_range import check_finite
from genmods.core.progress import Progress
from genmods.core.settings import DataChannels, DataSides
from genmods.core.sizes import sides
from genmods.diffusion.prediction import Estimate, consistent
from genmods.diffusion.process import NoiseProcess
from genmods.models.base import Model
from genmods.networks.base import Network, dry_run
from genmods.restoration.corruption import Corruption
from genmods.restoration.local import by_tiles
from genmods.restoration.operators import Identity, Operator

Level = Literal["blind", "known", "map"]

LARGE = 1_000_000
"""Images with more pixels are restored tile by tile."""
TILE = 1024
"""Side of a tile in pixels."""
ROUNDING_VARIANCE = (2 / 255) ** 2 / 12
"""The variance of the rounding of 8-bit images in [-1, 1]: the least that a network receives as the noise level."""


class RestorationNetwork(Model):
    """Estimates the clean image x of a corrupted measurement y = A x: the network output is added to A⁺ y.

    Args:
        network: Called as `network(x, log_snr, cond)`, like a denoising network.
        operator: The operator A; None for the identity.
        corruption: The corruption of A x; None if the training data are corrupted already.
        level: The noise information that the network receives: "blind" none, "known" the root mean square σ per image
            as the log-SNR −2 ln σ, at least that of rounding to 8 bits, "map" the standard deviation per pixel as
            `cond["image"]`, enlarged to the image if a measurement is smaller.
        in_channels, image_size: Shape of the training images; other sizes work if the network supports them.

    Raises:
        ValueError: If the network output does not have the shape of the image, or the operator or the corruption
            does not support that shape.
    """

    network: Any
    image_shape: tuple[int, int, int]

    def __init__(
        self,
        network: Network,
        operator: Operator | None = None,
        corruption: Corruption | None = None,
        level: Level = "blind",
        in_channels: DataChannels = 3,
        image_size: DataSides = 64,
    ) -> None:
        super().__init__()
        self.network, self.operator, self.corruption = network, operator or Identity(), corruption
        self.level = level
        self.image_shape = (in_channels, *sides(image_size))
        shape = dry_run(network, *self._inputs(2))
        if shape is None:  # for a checkpoint
            return
        if shape != (2, *self.image_shape):
            name = type(network).__name__
            raise ValueError(f"{name} must keep the shape {list(self.image_shape)} of an image, got {list(shape[1:])}")
        self._check_degradation()

    def _check_degradation(self) -> None:
        """Raises ValueError if images of the training shape cannot be degraded."""
        x = torch.zeros(1, *self.image_shape, device="cpu")
        try:
            restored = self.operator.pinv(self.degrade(x, torch.zeros(1, dtype=torch.int64, device="cpu")))
        except RuntimeError as error:
            shape = list(self.image_shape)
            raise ValueError(f"images of shape {shape} cannot be degraded: {first_line(error)}") from None
        if restored.shape != x.shape:
            name = type(self.operator).__name__
            raise ValueError(f"{name} must restore the shape {list(self.image_shape)}, got {list(restored.shape[1:])}")

    def _inputs(self, n: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        x = torch.empty(n, *self.image_shape, device="meta")
        return x, torch.zeros(n, device="meta"), {"image": x} if self.level == "map" else {}

    def example_inputs(self, name: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        return self._inputs(1)

    def degrade(self, x: Tensor, keys: Tensor) -> Tensor:
        """Measures and corrupts clean images.

        Args:
            x: Images [B, C, H, W] in [-1, 1].
            keys: One random key per image, int64 [B].

        Returns:
            Measurements [B, ...].
        """
        y = self.operator(x)
        return y if self.corruption is None else self.corruption(y, keys)

    def noise_std(self, x: Tensor, keys: Tensor) -> Tensor | None:
        """The standard deviation of the noise per pixel of `degrade(x, keys)`; None without a corruption."""
        return None if self.corruption is None else self.corruption.noise_std(self.operator(x), keys)

    def forward(self, y: Tensor, std: Tensor | None = None) -> Tensor:
        """Restores images.

        Args:
            y: Measurements [B, ...] of images in [-1, 1].
            std: Standard deviation of their noise, broadcastable to `y`; required unless the level is "blind".

        Returns:
            Estimates [B, C, H, W].

        Raises:
            ValueError: If the noise level is required and missing.
        """
        x = self.operator.pinv(y)
        log_snr, cond = x.new_zeros(x.shape[0]), {}
        if self.level != "blind":
            if std is None:
                raise ValueError("this network requires the standard deviation of the noise")
            std = std.expand_as(y)
            if self.level == "known":
                log_snr = -std.square().flatten(1).mean(1).clamp_min(ROUNDING_VARIANCE).log()
            else:
                cond = {"image": F.interpolate(std, x.shape[2:]).expand_as(x)}
        return x + self.network(x, log_snr, cond)

    @torch.no_grad()
    def restored(self, y: Tensor, std: Tensor | None = None, progress: Progress | None = None) -> Tensor:
        """Like `forward`, clamped to [-1, 1] and without gradients; large images tile by tile if the network is local.

        The network receives the noise level of the whole image with each tile.
        """
        check_finite(y)
        margin = getattr(self.network, "margin", None)
        if margin is None or y.shape[2] * y.shape[3] <= LARGE or not isinstance(self.operator, Identity):
            return self(y, std).clamp(-1, 1)
        if std is not None and self.level == "known":
            std = std.expand_as(y).square().mean((1, 2, 3), keepdim=True).sqrt()
        tile = TILE // self.network.multiple * self.network.multiple
        std = y.new_zeros(()) if std is None else std
        return by_tiles(self, y, std.expand_as(y), tile, margin, progress).clamp_(-1, 1)

    def denoiser(self, process: NoiseProcess) -> NetworkDenoiser:
        """The network as a diffusion denoiser of `process`, at the noise levels of its training.

        Raises:
            UserError: If the network does not receive the noise level, or inverts an operator.
        """
        if self.level != "known" or not isinstance(self.operator, Identity):
            raise UserError(
                "this network was trained to restore in one call; samples, holes and other operators require a "
                "diffusion model"
            )
        return NetworkDenoiser(self, process)


@dataclass(frozen=True)
class NetworkDenoiser:
    """A `RestorationNetwork` as a `Denoise`: x_t/α is an image with white noise of σ/α."""

    model: RestorationNetwork
    process: NoiseProcess

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        """The estimate at `x_t` [B, ...] and `t` [B]."""
        ones = [1] * (x_t.ndim - 1)
        alpha, sigma = (value.to(x_t).view(-1, *ones) for value in (self.process.alpha(t), self.process.sigma(t)))
        return consistent(self.process, x_t, self.model(x_t / alpha, sigma / alpha), t)
