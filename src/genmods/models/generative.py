"""Models that decode latents into images: the decoder of a variational autoencoder, the generator of a GAN."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.progress import Progress
from genmods.core.settings import Channels, DataChannels, DataSides
from genmods.core.sizes import sides
from genmods.models.base import Model, in_batches
from genmods.networks.base import Network, dry_run


class LatentModel(Model):
    """Decodes samples of z ~ N(0, I) into images by a network."""

    network: Any
    image_shape: tuple[int, int, int]

    def __init__(self, network: Network, /, in_channels: DataChannels = 1, image_size: DataSides = 28) -> None:
        super().__init__()
        self.network = network
        self.image_shape = (in_channels, *sides(image_size))

    def latent_shape(self) -> torch.Size:
        """The shape of z without the batch."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Images [B, C, H, W] of latents `z` [B, ...]."""
        raise NotImplementedError

    @torch.no_grad()
    def sample(
        self, n: int, *, seed: int = 0, batch_size: int = 256, first: int = 0, progress: Progress | None = None
    ) -> Tensor:
        """Images `first` to `first + n - 1`, [n, C, H, W] in [-1, 1]; image i depends only on `seed` and i."""
        shape = self.latent_shape()

        def decoded(indices: Tensor) -> Tensor:
            return self.decode(random.normal(random.fold(seed, indices), shape.numel()).view(-1, *shape))

        return in_batches(decoded, torch.arange(first, first + n, device=self.device), batch_size, progress)


class VAE(LatentModel):
    """An autoencoder with `encode(x) -> (mean, logvar)` and `decode(z) -> x`, Gaussian in both directions.

    Raises ValueError if the network has no `encode` and `decode`.
    """

    def __init__(self, network: Network, **settings: Any) -> None:
        super().__init__(network, **settings)
        if not (hasattr(network, "encode") and hasattr(network, "decode")):
            raise ValueError(
                f"the task vae requires an autoencoder with encode and decode, got {type(network).__name__}"
            )

    def latent_shape(self) -> torch.Size:
        return self.network.encode(torch.zeros(1, *self.image_shape, device=self.device))[0].shape[1:]

    def decode(self, z: Tensor) -> Tensor:
        return self.network.decode(z)


class GAN(LatentModel):
    """A generator that maps `latent` numbers to an image.

    Raises ValueError if the network does not return images of the data's shape.
    """

    def __init__(self, network: Network, latent: Channels = 64, **settings: Any) -> None:
        super().__init__(network, **settings)
        self.latent = latent
        fake = dry_run(network, torch.empty(2, latent, device="meta"))
        if fake not in (None, (2, *self.image_shape)):
            raise ValueError(
                f"{type(network).__name__} must return images {list(self.image_shape)}, got {list(fake[1:])}"
            )

    def latent_shape(self) -> torch.Size:
        return torch.Size([self.latent])

    def decode(self, z: Tensor) -> Tensor:
        return self.network(z)

    def example_inputs(self, name: str) -> tuple[Any, ...]:
        return (torch.empty(1, self.latent, device="meta"),)
