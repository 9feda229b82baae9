"""Gaussian images: the prior for which every posterior is known in closed form.

For x ~ N(m, C) and y = A x + σ_y n the posterior is Gaussian,

    E[x | y] = m + K (y - A m),   Cov[x | y] = C - K A C,   K = C Aᵀ (A C Aᵀ + σ_y² I)⁻¹,

which is linear MMSE estimation (the Wiener filter with the full covariance) and the oracle that diffusion methods are
measured against, in the tests and in `benchmarks/restoration.py`: the denoiser of the posterior, given to any sampler,
is the exact conditional method. `restore` takes a pair (gaussian.denoise(process), process) for a model.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.prediction import Estimate, consistent
from genmods.diffusion.process import NoiseProcess
from genmods.restoration.operators import Operator


class Gaussian:
    """The distribution N(mean, cov) over images: `mean` [C, H, W], `cov` [D, D] with D = C·H·W."""

    def __init__(self, mean: Tensor, cov: Tensor) -> None:
        self.mean, self.cov = mean, (cov + cov.T) / 2

    @classmethod
    def fit(cls, images: Tensor) -> Gaussian:
        """The mean and the covariance of `images` [N, C, H, W], in float64."""
        rows = images.double().flatten(1)
        return cls(rows.mean(0).view(images.shape[1:]), torch.cov(rows.T))

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self.cov)
        return values.clamp_min(0), vectors

    def denoise(self, process: NoiseProcess) -> Denoise:
        """The exact denoiser E[x0 | x_t] of this distribution, for `process`."""
        values, vectors = self._spectrum

        def exact(x: Tensor, t: Tensor) -> Estimate:
            alpha, sigma = process.alpha(t).to(x)[:, None], process.sigma(t).to(x)[:, None]
            mean = self.mean.flatten().to(x)
            gain = alpha * values.to(x) / (alpha**2 * values.to(x) + sigma**2)
            offset = (x.flatten(1) - alpha * mean) @ vectors.to(x)
            x0 = mean + (gain * offset) @ vectors.to(x).T
            return consistent(process, x, x0.view_as(x), t)

        return exact

    def matrix(self, operator: Operator) -> Tensor:
        """A as a matrix [M, D] on flattened images."""
        basis = torch.eye(self.mean.numel(), dtype=self.cov.dtype, device=self.cov.device)
        return operator(basis.view(-1, *self.mean.shape)).flatten(1).T

    def gain(self, operator: Operator, sigma_y: float) -> Tensor:
        """K [D, M]; a measurement without noise is allowed."""
        a = self.matrix(operator)
        system = a @ self.cov @ a.T + sigma_y**2 * torch.eye(len(a), dtype=a.dtype, device=a.device)
        return self.cov @ a.T @ torch.linalg.pinv(system, hermitian=True)

    def posterior_mean(self, operator: Operator, y: Tensor, sigma_y: float = 0.0) -> Tensor:
        """E[x | y] for each of the measurements `y` [B, ...]: images [B, C, H, W] in float64."""
        residual = y.to(self.cov) - operator(self.mean[None])
        return self.mean + (residual.flatten(1) @ self.gain(operator, sigma_y).T).view(-1, *self.mean.shape)

    def posterior(self, operator: Operator, y: Tensor, sigma_y: float = 0.0) -> Gaussian:
        """The distribution of x given one measurement `y` [1, ...]."""
        mean = self.posterior_mean(operator, y, sigma_y)[0]
        return Gaussian(mean, self.cov - self.gain(operator, sigma_y) @ self.matrix(operator) @ self.cov)
