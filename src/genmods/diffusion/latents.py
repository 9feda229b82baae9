"""The space of the diffusion: pixels, or the latents of an autoencoder (Rombach et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genmods.core.settings import Positive, Validated


class LatentSpace(Validated, nn.Module):
    """Pixels, or the latents of a frozen autoencoder, scaled to a root mean square of 1.

    Args:
        codec: A module with `encode(x) -> (mean, log_var)` and `decode(z) -> x`; None for pixels.
        scale: Factor of the latents, above 0; None measures it in `fit`.

    Raises:
        ValueError: If the codec is not an autoencoder, or the scale is out of range.
    """

    scale: Tensor

    def __init__(self, codec: nn.Module | None = None, scale: Positive | None = None) -> None:
        super().__init__()
        if codec is not None and not (hasattr(codec, "encode") and hasattr(codec, "decode")):
            raise ValueError(f"codec must be an autoencoder with encode and decode, got {type(codec).__name__}")
        self.codec: Any = codec.requires_grad_(False) if codec is not None else None
        self.measured = codec is not None and scale is None
        self.register_buffer("scale", torch.tensor(1.0 if scale is None else scale), persistent=codec is not None)

    @property
    def is_pixels(self) -> bool:
        """Whether pixels are diffused."""
        return self.codec is None

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The diffused x0 of images [B, C, H, W] in [-1, 1]: the images, or the scaled means of their latents."""
        return images if self.codec is None else self.codec.encode(images)[0] * self.scale

    @torch.no_grad()
    def decode(self, x0: Tensor) -> Tensor:
        """The inverse of `encode`: images [B, C, H, W], float32 in [-1, 1]."""
        images = x0 if self.codec is None else self.codec.decode(x0 / self.scale)
        return images.clamp(-1, 1).float()

    def shape(self, image_shape: Sequence[int]) -> torch.Size:
        """The shape of x0 without the batch dimension, for images of `image_shape` [C, H, W]."""
        return self.encode(torch.zeros(1, *image_shape, device=self.scale.device)).shape[1:]

    def fit(self, images: Tensor) -> None:
        """Measures the scale on example images [N, C, H, W] in [-1, 1], unless it was given."""
        if self.measured:
            latents = torch.cat([self.encode(part) for part in images.split(256)])
            self.scale.div_(latents.square().mean().sqrt())
