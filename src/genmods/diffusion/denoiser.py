"""A denoiser is a network, a process and a prediction: (x_t, t, condition) -> Estimate(x0, ε).

The network sees x_t/√(α² σ_data² + σ²), of unit variance at every noise level, and the log-SNR: it needs to know
nothing of the process' own time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from genmods.diffusion.prediction import Estimate, Prediction
from genmods.diffusion.process import LOG_SNR_LIMIT, NoiseProcess, check_times, per_sample

Condition = dict[str, Tensor]


@runtime_checkable
class Denoise(Protocol):
    """What samplers, likelihoods and restoration take: a process, and the estimate of its data at x_t.

    A `Denoiser`, one with its condition bound, one or several under guidance, or any object of this form.
    """

    @property
    def process(self) -> NoiseProcess:
        """The noise process of x_t."""

    def __call__(self, x_t: Tensor, t: Tensor, /) -> Estimate:
        """The estimate at `x_t` [B, ...] and times `t` [B]."""


@dataclass(frozen=True)
class DenoiserWrapper:
    """A denoiser made of another one, with the same process; a subclass defines `__call__`."""

    denoiser: Denoise

    @property
    def process(self) -> NoiseProcess:
        return self.denoiser.process


class Denoiser(nn.Module):
    """`network(x, noise, cond)` as a denoiser of `process`, where the network's output is a `prediction`.

    `sigma_data` is the root mean square of the data. A network that returns twice the channels of x says the reverse
    variance with the second half (Nichol and Dhariwal 2021). Raises ValueError for a singular pair of process and
    prediction.
    """

    def __init__(self, network: nn.Module, process: NoiseProcess, prediction: Prediction, sigma_data: float = 1.0):
        super().__init__()
        if sigma_data <= 0:
            raise ValueError(f"sigma_data={sigma_data}: must be above 0")
        prediction.check(process)
        self.network, self.process, self.prediction, self.sigma_data = network, process, prediction, sigma_data

    def output(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> tuple[Tensor, Tensor | None]:
        """The network's F [B, ...] and, where it learned it, its variance output, at `x_t` [B, ...] and `t` [B]."""
        check_times(t, x_t)
        scale = torch.hypot(self.process.alpha(t) * self.sigma_data, self.process.sigma(t)).reciprocal()
        noise = self.process.log_snr(t).clamp(-LOG_SNR_LIMIT, LOG_SNR_LIMIT)
        output = self.network(per_sample(scale, x_t) * x_t, noise.to(x_t), cond).to(x_t.dtype)
        if output.shape == x_t.shape:
            return output, None
        if output.shape[1] == 2 * x_t.shape[1]:
            first, second = output.chunk(2, dim=1)
            return first, second
        raise ValueError(
            f"the network returns {list(output.shape)} for x of {list(x_t.shape)}: must be C or 2 C channels"
        )

    def forward(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Estimate:
        """The estimate at `x_t` [B, ...] and `t` [B]."""
        output, variance = self.output(x_t, t, cond)
        estimate = self.prediction.decode(self.process, x_t, output, t)
        return estimate if variance is None else estimate._replace(var_fraction=(variance + 1) / 2)

    def conditioned(self, cond: Condition) -> ConditionedDenoiser:
        """This denoiser with the condition bound. Raises ValueError for a label outside [-1, num_classes)."""
        classes = getattr(self.network, "num_classes", None)
        label = cond.get("label")
        if classes is not None and label is not None and not label.is_floating_point():
            wrong = label[(label < -1) | (label >= classes)]
            if len(wrong):
                raise ValueError(f"label {wrong[0].item()}: must lie in [0, {classes}), or be -1 for no label")
        return ConditionedDenoiser(self, cond)


@dataclass(frozen=True)
class ConditionedDenoiser(DenoiserWrapper):
    """A `Denoiser` and its condition: a `Denoise`."""

    denoiser: Denoiser
    cond: Condition

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        return self.denoiser(x_t, t, self.cond)
