"""A denoiser is a network, a process and a prediction: (x_t, t, condition) -> Estimate(x0, ε).

The network receives x_t/√(α² σ_data² + σ²), which has unit variance at every noise level, and the log-SNR, so that it
is independent of the time parameterisation of the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from genmods.core.devices import to_float64
from genmods.core.errors import UserError
from genmods.core.settings import Positive, Validated
from genmods.diffusion.prediction import Estimate, Prediction
from genmods.diffusion.process import LOG_SNR_LIMIT, NoiseProcess, check_times, per_sample

Condition = dict[str, Tensor]
"""The network's condition: tensors [B, ...] by name; {} is unconditional."""


@runtime_checkable
class Denoise(Protocol):
    """The protocol of denoisers, the argument of samplers, likelihoods, guidance and restoration.

    Implemented by `Denoiser`, `ConditionedDenoiser` and guidance, or by any object with these two members.
    """

    @property
    def process(self) -> NoiseProcess:
        """The noise process of x_t."""

    def __call__(self, x_t: Tensor, t: Tensor, /) -> Estimate:
        """Estimates data and noise from x_t.

        Args:
            x_t: Noisy data [B, ...].
            t: Times [B], float64.

        Returns:
            The estimate, with the shape and dtype of `x_t`.
        """


@dataclass(frozen=True)
class DenoiserWrapper:
    """Base class of denoisers that wrap another one and share its process; a subclass defines `__call__`."""

    denoiser: Denoise

    @property
    def process(self) -> NoiseProcess:
        """The process of the wrapped denoiser."""
        return self.denoiser.process


class Denoiser(Validated, nn.Module):
    """A denoiser with a neural network.

    Args:
        network: Called as `network(x, log_snr, cond)` with x [B, C, ...] of unit variance, the log-SNR [B], clamped to
            ±13.5 or to the network's `log_snr_limit`, and the condition. Returns [B, C, ...], or [B, 2 C, ...] with the
            reverse variance in the second half (Nichol and Dhariwal 2021).
        process: The noise process.
        prediction: The parameterisation of the network output.
        sigma_data: Root mean square of the data, above 0.

    Raises:
        ValueError: If `sigma_data` is not positive, or if the prediction does not determine x0 and ε at some time of
            the process.
    """

    def __init__(self, network: nn.Module, process: NoiseProcess, prediction: Prediction, sigma_data: Positive = 1.0):
        super().__init__()
        prediction.check(process)
        self.network, self.process, self.prediction, self.sigma_data = network, process, prediction, sigma_data

    def output(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> tuple[Tensor, Tensor | None]:
        """The raw output of the network.

        Args:
            x_t: Noisy data [B, C, ...].
            t: Times [B], float64.
            cond: The condition.

        Returns:
            The output F [B, C, ...], and the variance output [B, C, ...] or None.

        Raises:
            ValueError: If `t` is not one time per sample, or the number of output channels is neither C nor 2 C.
        """
        check_times(t, x_t)
        scale = torch.hypot(self.process.alpha(t) * self.sigma_data, self.process.sigma(t)).reciprocal()
        limit = getattr(self.network, "log_snr_limit", LOG_SNR_LIMIT)
        log_snr = self.process.log_snr(t).clamp(-limit, limit)
        output = self.network(per_sample(scale, x_t) * x_t, log_snr.to(x_t), cond).to(x_t.dtype)
        if output.shape == x_t.shape:
            return output, None
        if output.shape[1] == 2 * x_t.shape[1]:
            first, second = output.chunk(2, dim=1)
            return first, second
        raise ValueError(
            f"the network must return C or 2 C channels, got {list(output.shape)} for x of {list(x_t.shape)}"
        )

    def forward(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Estimate:
        """The estimate at `x_t` [B, ...] and `t` [B]."""
        output, variance = self.output(x_t, t, cond)
        estimate = self.prediction.decode(self.process, x_t, output, t)
        return estimate if variance is None else estimate._replace(var_fraction=(variance + 1) / 2)

    def conditioned(self, cond: Condition) -> ConditionedDenoiser:
        """This denoiser with a fixed condition.

        Args:
            cond: The condition of B samples; an integer `label` [B] must lie in [-1, num_classes), -1 for no label.

        Raises:
            ValueError: If a label is out of range.
        """
        classes = getattr(self.network, "num_classes", None)
        label = cond.get("label")
        if classes is not None and label is not None and not label.is_floating_point():
            wrong = label[(label < -1) | (label >= classes)]
            if len(wrong):
                raise ValueError(f"label must lie in [0, {classes}), or be -1 for no label; got {wrong[0].item()}")
        return ConditionedDenoiser(self, cond)


@dataclass(frozen=True)
class ConditionedDenoiser(DenoiserWrapper):
    """A `Denoiser` with a fixed condition [B, ...]."""

    denoiser: Denoiser
    cond: Condition

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        """The estimate at `x_t` [B, ...] and `t` [B] under the condition."""
        return self.denoiser(x_t, t, self.cond)

    def average(self, x_t: Tensor, t: Tensor, end: Tensor) -> Estimate:
        """The average estimate at `x_t` [B, ...] for a step from `t` to `end` [B]; see `genmods.diffusion.mean_flow`.

        Raises UserError if the network has no second log-SNR.
        """
        if not getattr(self.denoiser.network, "two_times", False):
            raise UserError("the sampler mean_flow requires a model trained by the task mean_flow")
        return self.denoiser(x_t, t, self.cond | {"end": self.process.log_snr(end)})


def matching_time(process: NoiseProcess, sigma: Tensor) -> Tensor:
    """The times [B] at which σ_t/α_t of `process` is `sigma` [B], clamped to its range."""
    low, high = process.log_snr_range
    return process.time((-2 * to_float64(sigma).log()).clamp(low, high))


def mmse(denoiser: Denoise, y: Tensor, sigma: Tensor) -> Tensor:
    """The posterior mean E[x | y] [B, C, H, W] of y = x + noise of standard deviation `sigma` [B], by one call."""
    t = matching_time(denoiser.process, sigma)
    return denoiser(per_sample(denoiser.process.alpha(t), y) * y, t).x0
