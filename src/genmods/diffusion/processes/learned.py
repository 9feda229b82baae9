"""The learned schedule of VDM (Kingma et al. 2021, appendix H): the log-SNR is a monotone network.

    -log-SNR = γ(t) = γ0 + (γ1 - γ0) (m(t) - m(0))/(m(1) - m(0)),    m(t) = a t + Σ_j c_j S(w_j t + b_j),    a, c, w > 0

with S the logistic function. In continuous time, an expected loss weighted per unit of log-SNR depends on the endpoints
only; the schedule between them changes the variance of its estimate and is trained to minimise E[loss²].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor, nn
from torch.nn.functional import softplus

from genmods.core.devices import to_float64
from genmods.core.settings import Channels
from genmods.diffusion.processes.variance_preserving import VariancePreservingProcess


class LearnedProcess(VariancePreservingProcess):
    """A variance preserving process with a learned log-SNR, initially almost linear in t.

    `DiffusionLoss` trains it to minimise the variance of the loss, which requires times uniform in t and a weighting
    per unit of log-SNR (`elbo` or `sigmoid`); others, which would shift all times to where the loss is lowest, are
    refused.

    Args:
        log_snr_min: The log-SNR at t = 1.
        log_snr_max: The log-SNR at t = 0, above `log_snr_min`.
        width: Number of hidden units of the monotone network, at least 1.
        learn_ends: Whether the endpoints are trained, too. This requires a loss with the prior and reconstruction terms
            (`genmods.diffusion.bound_bits_per_dim`); the diffusion term alone would collapse the range.
    """

    def __init__(
        self,
        log_snr_min: float = -5.0,
        log_snr_max: Annotated[float, Gt("log_snr_min")] = 13.3,
        width: Channels = 64,
        learn_ends: bool = False,
    ):
        super().__init__()
        self._factor: Tensor | None = None
        self.ends = nn.Parameter(torch.tensor([-log_snr_max, -log_snr_min]), requires_grad=learn_ends)
        self.slope = nn.Parameter(torch.tensor(0.0))
        self.height = nn.Parameter(torch.full((width,), -4.0))
        self.steepness = nn.Parameter(torch.linspace(1.0, 10.0, width))
        self.bias = nn.Parameter(-torch.linspace(1.0, 10.0, width) * torch.linspace(0, 1, width))

    def _monotone(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """m(t) and dm/dt."""
        slope, height, steepness = (softplus(p.to(t)) for p in (self.slope, self.height, self.steepness))
        level = torch.sigmoid(t[..., None] * steepness + self.bias.to(t))
        return slope * t + level @ height, slope + (level * (1 - level)) @ (height * steepness)

    def _gamma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """γ(t) and dγ/dt."""
        value, rate = self._monotone(t)
        (first, last), _ = self._monotone(torch.arange(2, dtype=t.dtype, device=t.device))
        start, end = self.ends.to(t)
        value, rate = self._scaled((value - first) / (last - first)), self._scaled(rate / (last - first))
        return start + (end - start) * value, (end - start) * rate

    def _scaled(self, share: Tensor) -> Tensor:
        """`share` unchanged, with its gradient scaled by `schedule_gradient`."""
        factor = self._factor
        if factor is not None and share.requires_grad and share.shape == factor.shape:
            share.register_hook(lambda gradient: gradient * factor.to(gradient))
        return share

    @contextmanager
    def schedule_gradient(self, factor: Tensor) -> Iterator[None]:
        self._factor = factor
        try:
            yield
        finally:
            self._factor = None

    def integral(self, t: Tensor) -> Tensor:
        return softplus(self._gamma(t)[0], threshold=100.0)

    def rate(self, t: Tensor) -> Tensor:
        gamma, rate = self._gamma(t)
        return torch.sigmoid(gamma) * rate

    @torch.no_grad()
    def inverse(self, integral: Tensor) -> Tensor:
        """The time at which B is `integral` [...], of its shape, by bisection of [0, 1] to float64 precision."""
        low, high = torch.zeros_like(integral), torch.ones_like(integral)
        for _ in range(54):
            middle = (low + high) / 2
            above = self.integral(middle) > integral
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2

    def likelihood_times(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Times [B] uniform in t, as in training of the schedule, and -d log-SNR/dt [B], differentiable."""
        return u, -self.log_snr_rate(u)

    def log_snr(self, t: Tensor) -> Tensor:
        return -self._gamma(to_float64(t))[0]

    def log_snr_rate(self, t: Tensor) -> Tensor:
        return -self._gamma(to_float64(t))[1]
