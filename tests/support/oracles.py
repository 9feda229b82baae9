"""Data distributions whose denoisers are known in closed form, for any process: E[x0 | x_t] of z = x_t/α at s = σ/α."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmods.config.builtins import BUILTINS, imported
from genmods.diffusion import Denoise, Estimate, NoiseProcess, Prediction
from genmods.diffusion.prediction import consistent
from genmods.diffusion.process import LOG_SNR_LIMIT, per_sample


def built_in(kind: str, name: str):
    return imported(BUILTINS[kind][name])


def processes() -> dict[str, NoiseProcess]:
    """Every registered process, and the discrete form of those that have one."""
    found = {}
    for name in BUILTINS["process"]:
        cls = built_in("process", name)
        found[name] = cls()
        if name in ("cosine", "linear", "sigmoid"):
            found[f"{name}-100"] = cls(steps=100)
    return found


@dataclass
class Oracle:
    """A `Denoise` from a posterior mean that takes (x_t, α, σ), coefficients of shape [B, 1, ...]."""

    process: NoiseProcess

    def mean(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, x: Tensor, t: Tensor) -> Estimate:
        alpha, sigma = per_sample(self.process.alpha(t), x), per_sample(self.process.sigma(t), x)
        return consistent(self.process, x, self.mean(x, alpha, sigma), t)


@dataclass
class Gaussian(Oracle):
    """x0 ~ N(0, c²)."""

    c: float = 1.0

    def mean(self, x, alpha, sigma):
        return alpha * self.c**2 / (alpha**2 * self.c**2 + sigma**2) * x


MEANS = torch.tensor([[1.0, 0.5], [-1.0, 1.0], [0.3, -1.2]], dtype=torch.float64)
VARIANCES = torch.tensor([0.05, 0.1, 0.2], dtype=torch.float64)
SHARES = torch.tensor([0.3, 0.45, 0.25], dtype=torch.float64)


@dataclass
class Mixture(Oracle):
    """Three round Gaussians in the plane."""

    def _parts(self, x, alpha, sigma):
        variance = alpha**2 * VARIANCES + sigma**2
        offset = x[:, None] - alpha[..., None] * MEANS
        log_share = SHARES.log() - variance.log() - offset.square().sum(-1) / (2 * variance)
        return offset, variance, log_share

    def mean(self, x, alpha, sigma):
        offset, variance, log_share = self._parts(x, alpha, sigma)
        parts = MEANS + (alpha * VARIANCES / variance)[..., None] * offset
        return (log_share.softmax(1)[..., None] * parts).sum(1)

    def log_density(self, x, t):
        """ln p_t(x) in nats, [B]."""
        alpha, sigma = per_sample(self.process.alpha(t), x), per_sample(self.process.sigma(t), x)
        return self._parts(x, alpha, sigma)[2].logsumexp(1) - torch.tensor(2 * torch.pi).log()

    def draw(self, count: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        part = torch.multinomial(SHARES, count, replacement=True, generator=generator)
        noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return MEANS[part] + VARIANCES[part, None].sqrt() * noise


@dataclass
class Atoms(Oracle):
    """Finitely many points [K, D], equally likely; `pixelwise`: every pixel is drawn from K scalars on its own."""

    points: Tensor
    pixelwise: bool = False

    def mean(self, x, alpha, sigma):
        if self.pixelwise:
            log_share = -(x[..., None] - alpha[..., None] * self.points).square() / (2 * sigma[..., None] ** 2)
            return log_share.softmax(-1) @ self.points
        flat, alpha, sigma = x.flatten(1), alpha.flatten(1), sigma.flatten(1)
        log_share = (alpha * flat @ self.points.T - alpha**2 * self.points.square().sum(1) / 2) / sigma**2
        return (log_share.softmax(-1) @ self.points).view_as(x)


class Network(nn.Module):
    """A network whose output is exactly the prediction of a denoiser, for data of unit root mean square."""

    log_snr_limit = 2 * LOG_SNR_LIMIT
    """A trained network learns what the last level of `cosine-100` (log-SNR -15.2) needs under the clamped label -13.5;
    this one computes it from the label, and so must get the true one."""

    def __init__(self, denoise: Denoise, process: NoiseProcess, prediction: Prediction):
        super().__init__()
        self.denoise, self.process, self.prediction = denoise, process, prediction

    def forward(self, x, log_snr, cond=None):
        t = self.process.time(log_snr)
        scale = per_sample(torch.hypot(self.process.alpha(t), self.process.sigma(t)), x)
        estimate = self.denoise(x * scale, t)
        return self.prediction.target(self.process, estimate.x0, estimate.eps, t)
