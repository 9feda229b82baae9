"""Signals instead of images: a data set, a conditioning on its parameters, and a network for it."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import nn

from genmods.core.batch import INPUT
from genmods.core.settings import CondSize, Count, DataChannels
from genmods.data.base import DataModule, Table
from genmods.data.info import DataInfo
from genmods.diffusion import Conditioning
from genmods.networks import Network
from genmods.networks.blocks import Embedding

PARAMETERS = "parameters"


class Waves(DataModule):
    """Sine waves [1, `length`] of random amplitude, frequency and phase; the first two are in the batch.

    `count`: training signals, beside a quarter as many for validation and for testing.
    """

    def __init__(
        self,
        count: Annotated[int, Ge(4)] = 512,
        length: Annotated[int, Ge(8)] = 32,
        batch_size: Annotated[int, Ge(1)] = 64,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed=seed)
        self.count, self.length = count, length

    @cached_property
    def splits(self):
        counts = {"train": self.count, "val": self.count // 4, "test": self.count // 4}
        return {name: self._waves(n, seed) for seed, (name, n) in enumerate(counts.items())}

    def _waves(self, n, seed):
        amplitude, frequency, phase = torch.rand(3, n, 1, 1, generator=torch.Generator().manual_seed(seed))
        amplitude, frequency = 0.1 + 0.8 * amplitude, 1 + 2 * frequency
        t = torch.linspace(0, 1, self.length)
        signal = amplitude * (2 * torch.pi * (frequency * t + phase)).sin()
        return Table({INPUT: signal, PARAMETERS: torch.cat([amplitude, frequency], 1).squeeze(-1)})

    @cached_property
    def info(self):
        signals = self.splits["train"].columns[INPUT]
        mean, std = float(signals.mean()), float(signals.std())
        return DataInfo(shape=(1, self.length), num_classes=0, mean=mean, std=std, levels=256, class_names=[])

    def show(self, samples):
        """Each signal as a black curve on white."""
        rows = torch.linspace(1, -1, 24).view(1, -1, 1)
        return 1 - 2 * (-((rows - samples.float().clamp(-1, 1)) * 8).square()).exp()[:, None]


class Parameters(Conditioning):
    """Amplitude and frequency of a wave, scaled to [-1, 1], as `cond["vector"]`."""

    names = ("amplitude", "frequency")

    def __init__(self, drop: float = 0.1) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, batch):
        vector = self._scaled(batch[PARAMETERS])
        if self.training:
            vector = vector.masked_fill(torch.rand(len(vector), 1, device=vector.device) < self.drop, torch.nan)
        return {"vector": vector}

    def null(self, n, device=None):
        return {"vector": torch.full((n, 2), torch.nan, device=device)}

    def of(self, values, n, device=None):
        columns = [[float(value) for value in values.get(name, ["nan"] * n)] for name in self.names]
        return {"vector": self._scaled(torch.tensor(columns, device=device).T)}

    def describe(self, cond):
        return [f"amplitude {0.5 + 0.4 * a:.2f}, frequency {2 + f:.2f}" for a, f in cond["vector"].tolist()]

    def _scaled(self, parameters):
        return (parameters - parameters.new_tensor([0.5, 2.0])) / parameters.new_tensor([0.4, 1.0])


class Convolutions(Network):
    """Residual 1-D convolutions [B, in_channels, T] to the same, steered by the noise level and a vector."""

    def __init__(
        self, width: Count = 16, depth: Count = 3, cond_size: CondSize = 2, in_channels: DataChannels = 1
    ) -> None:
        super().__init__()
        self.cond_size = cond_size
        self.embedding = Embedding(width, cond_size=cond_size)
        self.stem = nn.Conv1d(in_channels, width, 5, padding=2)
        self.films = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2 * 2**k, dilation=2**k) for k in range(depth))
        self.last = nn.Conv1d(width, in_channels, 1)

    def forward(self, x, log_snr, cond=None):
        h, embedding = self.stem(x), self.embedding(log_snr, cond)
        for film, layer in zip(self.films, self.layers, strict=True):
            scale, shift = film(embedding)[:, :, None].chunk(2, dim=1)
            h = h + layer(F.silu(F.group_norm(h, 1) * (1 + scale) + shift))
        return self.last(F.silu(h))
