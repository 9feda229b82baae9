"""A task of a third package: consistency training, a network that maps noise to data in one call.

    f(x, σ) = c_skip(σ) x + c_out(σ) F(c_in(σ) x),  with f(x, σ_min) = x

is trained to agree with itself at neighbouring noise levels of one sample and one noise (Song et al. 2023), with the
pseudo-Huber loss and the levels of Song and Dhariwal (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from genmods.core.batch import INPUT
from genmods.core.settings import FromData, Positive, SigmaData
from genmods.diffusion import Conditioning, Unconditional, noise_stream
from genmods.networks import Network
from genmods.tasks.base import Task
from genmods.tracking.monitor import Monitor


class ConsistencyTask(Task):
    """Trains `network` as a consistency model between the noise levels `sigma_min` and `sigma_max`.

    `num_sigmas`: noise levels of training; `resampled`: the levels of the second, third ... call of a sample, falling.
    """

    monitor = Monitor("val/loss", "min")

    def __init__(
        self,
        network: Network,
        conditioning: Conditioning | None = None,
        num_sigmas: Annotated[int, Ge(2)] = 40,
        sigma_min: Positive = 0.01,
        sigma_max: Annotated[float, Gt("sigma_min")] = 20.0,
        resampled: tuple[Positive, ...] = (1.0,),
        shape: Annotated[tuple[int, ...], FromData] = (1, 28, 28),
        sigma_data: SigmaData = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.network, self.conditioning = network, conditioning or Unconditional()
        self.conditioning.check(network)
        self.sigma_min, self.sigma_max, self.resampled = sigma_min, sigma_max, resampled
        self.shape, self.sigma_data = tuple(shape), sigma_data
        ramp = torch.linspace(0, 1, num_sigmas)
        sigmas = (sigma_min ** (1 / 7) + ramp * (sigma_max ** (1 / 7) - sigma_min ** (1 / 7))) ** 7
        self.register_buffer("sigmas", sigmas, persistent=False)

    def denoise(self, x: Tensor, sigma: Tensor, cond: dict[str, Tensor]) -> Tensor:
        """f(x, σ) for `x` [B, ...] and `sigma` [B]."""
        log_snr, data = -2 * sigma.log(), self.sigma_data
        sigma = sigma.view(-1, *[1] * (x.ndim - 1))
        norm = (sigma**2 + data**2).sqrt()
        skip = data**2 / ((sigma - self.sigma_min) ** 2 + data**2)
        return skip * x + data * (sigma - self.sigma_min) / norm * self.network(x / norm, log_snr, cond)

    def _loss(self, batch: Mapping[str, Tensor], stage: str) -> Tensor:
        x0, cond = batch[INPUT], self.conditioning(batch)
        levels = torch.special.erf((self.sigmas.log() + 1.1) / 2**1.5)
        chosen = torch.multinomial(levels.diff(), len(x0), replacement=True)
        low, high = self.sigmas[chosen], self.sigmas[chosen + 1]
        noise, shape = torch.randn_like(x0), (-1, *[1] * (x0.ndim - 1))
        student = self.denoise(x0 + high.view(shape) * noise, high, cond)
        with torch.no_grad():
            teacher = self.denoise(x0 + low.view(shape) * noise, low, cond)
        c = 0.00054 * x0[0].numel() ** 0.5
        distance = ((student - teacher).square().flatten(1).sum(1) + c**2).sqrt() - c
        loss = (distance / (high - low)).mean()
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        return loss

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        return self._loss(batch, "train")

    def evaluation_step(self, batch: Mapping[str, Tensor], stage: str) -> None:
        self._loss(batch, stage)

    def conditioned_on(self) -> Conditioning:
        return self.conditioning

    @torch.no_grad()
    def sample(
        self, n: int, condition: Mapping[str, Any] | None = None, *, seed=0, batch_size=256, first=0, progress=None
    ) -> Tensor:
        indices = torch.arange(first, first + n, device=self.device)
        cond = self.conditioning.requested(n, condition, indices, self.device)
        samples = []
        for rows in torch.arange(n, device=self.device).split(batch_size):
            noise = noise_stream(seed, indices[rows], self.shape, self.device)
            some = {name: value[rows] for name, value in cond.items()}
            x = self.denoise(self.sigma_max * noise.initial(), torch.full((len(rows),), self.sigma_max), some)
            for step, sigma in enumerate(self.resampled):
                noisy = x + (sigma**2 - self.sigma_min**2) ** 0.5 * noise(step)
                x = self.denoise(noisy, torch.full((len(rows),), sigma), some)
            samples.append(x.clamp(-1, 1))
            if progress:
                progress(len(samples), -(-n // batch_size))
        return torch.cat(samples)

    def example_inputs(self, name: str) -> tuple[Any, ...]:
        x = torch.empty(1, *self.shape, device="meta")
        return x, torch.zeros(1, device="meta"), self.conditioning.example(1)
