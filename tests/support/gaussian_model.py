"""A class-conditional diffusion model whose network is exact: images of class k are N(means[k], STD²) per pixel."""

from __future__ import annotations

import torch

from genmods.diffusion import CosineProcess, HeunSampler, X0Prediction
from genmods.models import DiffusionModel
from genmods.networks import Network

STD = 0.4
MEANS = (-0.3, 0.0, 0.3)


class GaussianClasses(Network):
    """E[x0 | x_t, class] for `cosine`, where x_t has no other scale than that of the process; label -1: mean 0."""

    num_classes = len(MEANS)

    def __init__(self):
        super().__init__()
        self.means = torch.nn.Parameter(torch.tensor([0.0, *MEANS]))

    def forward(self, x, log_snr, cond=None):
        label = (cond or {}).get("label", torch.full((len(x),), -1))
        mean = self.means.to(x)[label + 1].view(-1, 1, 1, 1)
        alpha, sigma = (value.sqrt().view(-1, 1, 1, 1) for value in (log_snr.sigmoid(), (-log_snr).sigmoid()))
        return mean + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * mean)


def gaussian_model(size=2, **settings):
    """The model for images [1, size, size], in float64."""
    parts = GaussianClasses(), CosineProcess(), X0Prediction(), HeunSampler(steps=40)
    shape = {"in_channels": 1, "image_size": size, "num_classes": len(MEANS), "levels": 256}
    return DiffusionModel(*parts, **shape, **settings).double().eval().requires_grad_(False)


def draw(count, size=2, std=STD, mean=0.0, seed=0):
    """Images [count, 1, size, size] of N(mean, std²) per pixel."""
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(count, 1, size, size, generator=generator, dtype=torch.float64)
