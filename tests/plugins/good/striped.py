"""A third package's parts: a network, a sampler and a data source, with no change to genmods."""

from dataclasses import dataclass

import torch
from torch import nn

from genmods.core.settings import Channels, DataChannels
from genmods.data.images import Images, Source
from genmods.diffusion.samplers.ddim import DDIMSampler
from genmods.networks import Network


class Striped(Network):
    """One convolution that hears nothing of the noise."""

    def __init__(self, in_channels: DataChannels = 1, width: Channels = 3):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.Conv2d(width, in_channels, 1))

    def forward(self, x, log_snr=None, cond=None):
        return self.layers(x)


@dataclass
class Lazy(DDIMSampler):
    """DDIM in two steps."""

    steps: int = 2


@dataclass
class Stripes(Source):
    """Images of `size` x `size` pixels with stripes."""

    size: int = 8
    count: int = 64

    def read(self):
        pixels = torch.zeros(self.count, 1, self.size, self.size, dtype=torch.uint8)
        pixels[..., ::2] = 255
        return {"train": Images(pixels, torch.arange(self.count) % 2)}

    class_names = ["odd", "even"]
