"""Gaussian images: a prior whose posteriors are all known in closed form.

For x ~ N(m, C) and y = A x + σ_y n the posterior is Gaussian,

    E[x | y] = m + K (y - A m),   Cov[x | y] = C - K A C,   K = C Aᵀ (A C Aᵀ + σ_y² I)⁻¹,

which is linear MMSE estimation (the Wiener filter with the full covariance). The tests and `benchmarks/restoration.py`
compare diffusion methods with it; the denoiser of the posterior, with any sampler, is the exact conditional method.
`restore` accepts `gaussian.denoise(process)` as a model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.prediction import Estimate, consistent
from genmods.diffusion.process import NoiseProcess
from genmods.restoration.operators import Operator


class Gaussian:
    """The distribution N(mean, cov) over images.

    Args:
        mean: The mean image [C, H, W].
        cov: The covariance [D, D] of flattened images, D = C·H·W.
    """

    def __init__(self, mean: Tensor, cov: Tensor) -> None:
        self.mean, self.cov = mean, (cov + cov.T) / 2

    @classmethod
    def fit(cls, images: Tensor) -> Gaussian:
        """A Gaussian with the mean and covariance of `images` [N, C, H, W], in float64."""
        rows = to_float64(images).flatten(1)
        return cls(rows.mean(0).view(images.shape[1:]), torch.cov(rows.T))

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(self.cov)
        return values.clamp_min(0), vectors

    def denoise(self, process: NoiseProcess) -> Denoise:
        """The exact denoiser E[x0 | x_t] of this distribution, for `process`."""
        return GaussianDenoiser(self, process)

    def mean_given(self, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x_t] for `x_t` [B, C, H, W] = α x0 + σ ε, with `alpha` and `sigma` [B]."""
        values, vectors = (part.to(x_t) for part in self._spectrum)
        alpha, sigma, mean = alpha.to(x_t)[:, None], sigma.to(x_t)[:, None], self.mean.flatten().to(x_t)
        gain = alpha * values / (alpha**2 * values + sigma**2)
        offset = (x_t.flatten(1) - alpha * mean) @ vectors
        return (mean + (gain * offset) @ vectors.T).view_as(x_t)

    def matrix(self, operator: Operator) -> Tensor:
        """A as a matrix [M, D] for flattened images."""
        basis = torch.eye(self.mean.numel(), dtype=self.cov.dtype, device=self.cov.device)
        return operator(basis.view(-1, *self.mean.shape)).flatten(1).T

    def gain(self, operator: Operator, sigma_y: float) -> Tensor:
        """K [D, M] for noise of standard deviation `sigma_y`, which may be 0."""
        a = self.matrix(operator)
        system = a @ self.cov @ a.T + sigma_y**2 * torch.eye(len(a), dtype=a.dtype, device=a.device)
        return self.cov @ a.T @ torch.linalg.pinv(system, hermitian=True)

    def posterior_mean(self, operator: Operator, y: Tensor, sigma_y: float = 0.0) -> Tensor:
        """E[x | y] for each of the measurements `y` [B, ...]: images [B, C, H, W], float64."""
        residual = y.to(self.cov) - operator(self.mean[None])
        return self.mean + (residual.flatten(1) @ self.gain(operator, sigma_y).T).view(-1, *self.mean.shape)

    def posterior(self, operator: Operator, y: Tensor, sigma_y: float = 0.0) -> Gaussian:
        """The posterior distribution of x for one measurement `y` [1, ...]."""
        mean = self.posterior_mean(operator, y, sigma_y)[0]
        return Gaussian(mean, self.cov - self.gain(operator, sigma_y) @ self.matrix(operator) @ self.cov)


@dataclass(frozen=True)
class GaussianDenoiser:
    """The exact denoiser of a Gaussian, E[x0 | x_t]."""

    gaussian: Gaussian
    process: NoiseProcess

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        x0 = self.gaussian.mean_given(x_t, self.process.alpha(t), self.process.sigma(t))
        return consistent(self.process, x_t, x0, t)
