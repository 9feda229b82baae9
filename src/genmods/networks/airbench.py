"""airbench, a fast-training image classifier (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024).

The first layer is a frozen whitening of small patches instead of a learned filter bank, so that the learned layers
receive uncorrelated inputs of unit variance from the first step:

    W = +-Lambda^(-1/2) V^T,  b = -W m,  for patches with mean m and covariance V Lambda V^T.

It is followed by blocks of convolution, pooling, batch norm and GELU. Convolutions are initialised to the identity on
their first channels (Dirac initialisation); norms have no gain. Recommended: large batches (500 to 1000), Muon with a
linear schedule (warm-up 0.2), label smoothing 0.2, alternating flip with translations of two pixels, and test-time
augmentation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, MaxLen, MinLen
from torch import Tensor, nn

from genmods.core.devices import to_float64
from genmods.core.settings import Channels, Classes, Count, DataChannels, Depth, FromData, Pixels
from genmods.networks.base import Network

_LOGIT_SCALE = 1 / 9


def whitening(images: Tensor, kernel: int, eps: float = 5e-4) -> tuple[Tensor, Tensor]:
    """Filters and biases of a convolution that whitens image patches.

    The second half of the filters is the negative of the first, because a rectifier follows. The outputs of either half
    have zero mean and, for eps = 0, identity covariance.

    Args:
        images: Images [N, C, H, W].
        kernel: Side of the patches.
        eps: Added to the eigenvalues of the covariance; bounds the gain in directions of low variance.

    Returns:
        Filters [2 D, C, kernel, kernel] and biases [2 D], with D = C kernel^2.
    """
    channels = images.shape[1]
    patches = to_float64(F.unfold(images, kernel).mT.reshape(-1, channels * kernel**2))
    values, vectors = torch.linalg.eigh(torch.cov(patches.mT, correction=0))
    filters = ((values + eps).rsqrt() * vectors).mT.flip(0)
    bias = -filters @ patches.mean(0)
    both = torch.cat([filters, -filters]).view(-1, channels, kernel, kernel)
    return both.float(), torch.cat([bias, -bias]).float()


_Side = Annotated[Pixels, Ge("kernel - 1 + 2 ** len(widths)")]


class Whitening(nn.Module):
    """A frozen convolution that whitens patches, with a trained bias: [B, C, H, W] -> [B, 2 C kernel^2, H', W'].

    H' = H - kernel + 1. Before `fit` the filters are random and orthogonal.
    """

    weight: Tensor

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.out_channels = 2 * channels * kernel**2
        self.register_buffer("weight", nn.init.orthogonal_(torch.empty(self.out_channels, channels, kernel, kernel)))
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the filters to the `whitening` of images [N, C, H, W]."""
        filters, bias = whitening(images, self.weight.shape[-1])
        self.weight.copy_(filters)
        self.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias)


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


class AirbenchBlock(nn.Module):
    """`depth` convolutions with pooling after the first: [B, in, H, W] -> [B, out, H / 2, W / 2].

    With three or more convolutions, a residual connection skips all but the first.
    """

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        widths = [in_channels] + [out_channels] * depth
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(_norm(out_channels) for _ in range(depth))
        for conv in self.convs:
            nn.init.dirac_(conv.weight[: conv.in_channels])  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norms[0](F.max_pool2d(self.convs[0](x), 2)))
        skip = x
        for conv, norm in zip(self.convs[1:-1], self.norms[1:-1], strict=True):
            x = F.gelu(norm(conv(x)))
        if len(self.convs) > 1:
            x = self.norms[-1](self.convs[-1](x))
            x = F.gelu(x + skip if len(self.convs) > 2 else x)
        return x


class Airbench(Network):
    """The airbench classifier: images [B, in_channels, image_size, image_size] -> logits [B, num_classes].

    Args:
        widths: Channels of each block; a block halves the resolution.
        depth: Convolutions per block.
        kernel: Side of the whitened patches.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels, or (height, width).
        num_classes: Number of classes.

    Raises:
        ValueError: If the images are too small for the blocks.
    """

    def __init__(
        self,
        widths: Annotated[tuple[Channels, ...], MinLen(1), MaxLen(16)] = (64, 256, 256),
        depth: Depth = 2,
        kernel: Count = 2,
        in_channels: DataChannels = 1,
        image_size: Annotated[_Side | tuple[_Side, _Side], FromData] = 28,
        num_classes: Classes = 10,
    ) -> None:
        super().__init__()
        self.whiten = Whitening(in_channels, kernel)
        self.blocks = nn.Sequential(
            *(AirbenchBlock(a, b, depth) for a, b in pairwise([self.whiten.out_channels, *widths]))
        )
        self.head = nn.Linear(widths[-1], num_classes, bias=False)

    fitted = ("whiten.weight", "whiten.bias")

    def fit_statistics(self, images: Tensor) -> None:
        """Set the first layer to the whitening of training images [N, C, H, W]; a few thousand suffice."""
        self.whiten.fit(images)

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(F.gelu(self.whiten(x))).amax((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)) * _LOGIT_SCALE
