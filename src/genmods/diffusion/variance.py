"""The variance of a reverse step from t to s < t, and the learned variance of iDDPM (Nichol and Dhariwal 2021).

    smallest: β̃ = σ_s² (1 - SNR_t/SNR_s), that of q(x_s | x_t, x0), exact if x0 is known
    largest:  β  = σ_t² (1 - SNR_t/SNR_s) (α_s² + σ_s²)/(α_t² + σ_t²), exact if x0 is white noise of unit variance; for
              a variance preserving process that of q(x_t | x_s)

A learned variance is β^f β̃^(1-f), with f predicted by the network per pixel.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def bounds(alpha_t: Number, sigma_t: Number, alpha_s: Number, sigma_s: Number) -> tuple[Number, Number]:
    """(β̃, β) from the coefficients at t and s: floats, or tensors of the same shape."""
    lost = 1 - (alpha_t / alpha_s * (sigma_s / sigma_t)) ** 2
    shrink = (alpha_s**2 + sigma_s**2) / (alpha_t**2 + sigma_t**2)
    return lost * sigma_s**2, lost * sigma_t**2 * shrink


def interpolate(smallest, largest, fraction):
    """β^f β̃^(1-f), for floats or tensors."""
    return largest**fraction * smallest ** (1 - fraction)


def normal_kl(error: Tensor, true: Tensor, model: Tensor) -> Tensor:
    """KL(N(m, true) ‖ N(m + error, model)) in nats, elementwise [...]; `true` and `model` are variances."""
    return 0.5 * ((true + error**2) / model - 1 + (model / true).log())
