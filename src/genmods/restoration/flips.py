"""The mean of a restoration network's estimates for flipped images.

Flips do not change the distribution of photographs with white noise, so that the estimates for the four flips of an
image have the same mean square error, and their mean has at most that (Timofte, Rothe and Van Gool 2016, "Seven ways to
improve example-based single image super resolution").
"""

from __future__ import annotations

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.progress import Progress, part_of
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.process import NoiseProcess
from genmods.models import Restores
from genmods.restoration.operators import Identity

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""The flipped dimensions of each copy of an image."""


class Flipped:
    """A denoising network that is called for four flips of each image.

    Args:
        network: A restoration network whose operator is the identity.

    Raises:
        UserError: If it is another model.
    """

    def __init__(self, network: object) -> None:
        if not isinstance(network, Restores) or not isinstance(network.operator, Identity):
            raise UserError("flips require a restoration network that denoises")
        self.network = network
        self.image_shape, self.operator, self.corruption = network.image_shape, network.operator, network.corruption

    def restored(self, y: Tensor, std: Tensor | None = None, progress: Progress | None = None) -> Tensor:
        """The mean estimate [B, C, H, W] for images `y` with noise of standard deviation `std`, as `Restores`."""
        std = None if std is None else std.expand_as(y)
        total = torch.zeros_like(y)
        for k, flips in enumerate(FLIPS):
            flipped = None if std is None else std.flip(flips)
            total += self.network.restored(y.flip(flips), flipped, part_of(progress, k, len(FLIPS))).flip(flips)
        return total / len(FLIPS)

    def denoiser(self, process: NoiseProcess) -> Denoise:
        """As the network's."""
        return self.network.denoiser(process)
