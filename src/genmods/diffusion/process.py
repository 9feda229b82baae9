"""Noise processes, which transform data at `t_min` into noise at `t_max`:

    x_t = α(t) x0 + σ(t) ε,    ε ~ N(0, I),    log-SNR(t) = 2 ln(α/σ), decreasing in t.

Predictions, samplers and likelihoods use only α, σ, their derivatives dα/dt and dσ/dt, and the inverse
`time(log_snr)`. Coefficients are float64, of the shape of `t`, and are cast when they are multiplied with the data. At
`t_min` σ may be 0 (the data themselves); `t_min_trained` is the least noisy time at which networks are trained and
evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy, deepcopy

import torch
from torch import Tensor, nn

from genmods.core.devices import float64_device
from genmods.core.settings import Validated

LOG_SNR_LIMIT = 13.5
"""Networks and grids use log-SNRs clamped to ±13.5 (σ/α = 0.0012 or 850); beyond, images do not change visibly."""


def per_sample(coefficient: Tensor, x: Tensor) -> Tensor:
    """A coefficient [B] in the dtype of `x` [B, ...], with trailing dimensions for broadcasting."""
    return coefficient.to(x).view(-1, *[1] * (x.dim() - 1))


def check_times(t: Tensor, x: Tensor) -> None:
    """Raises ValueError unless `t` has one time per sample of `x` [B, ...]."""
    if t.shape != x.shape[:1]:
        raise ValueError(f"t must have shape [{len(x)}], one time per sample of x; got {list(t.shape)}")


class NoiseProcess(Validated, nn.Module):
    """The registry kind `process`: α, σ, their derivatives, and the inverse of the log-SNR.

    A subclass sets `t_min_trained`, and `t_min` and `t_max` if they are not 0 and 1.

    Attributes:
        t_min: The time of the data.
        t_min_trained: The least noisy time at which networks are trained and evaluated.
        t_max: The time of (nearly) pure noise.
        levels: The times of a discrete process (float64, ascending, without `t_min`); None for a continuous one.
    """

    t_min: float = 0.0
    t_min_trained: float = 0.0
    t_max: float = 1.0
    levels: Tensor | None

    def __init__(self, levels: Tensor | None = None):
        super().__init__()
        self.register_buffer("levels", levels, persistent=False)

    def alpha(self, t: Tensor) -> Tensor:
        """The signal coefficient α at times `t`, float64, of the shape of `t` [...]."""
        raise NotImplementedError

    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation σ of the noise at times `t`, float64, of the shape of `t` [...]."""
        raise NotImplementedError

    def alpha_rate(self, t: Tensor) -> Tensor:
        """dα/dt at times `t`, float64, of the shape of `t` [...]."""
        raise NotImplementedError

    def sigma_rate(self, t: Tensor) -> Tensor:
        """dσ/dt at times `t`, float64, of the shape of `t` [...]."""
        raise NotImplementedError

    def time(self, log_snr: Tensor) -> Tensor:
        """The time at which the log-SNR is `log_snr` [...], float64, of its shape."""
        raise NotImplementedError

    def log_snr(self, t: Tensor) -> Tensor:
        """2 ln(α/σ) at times `t`, float64, of the shape of `t` [...]; infinite if σ or α is 0."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def log_snr_rate(self, t: Tensor) -> Tensor:
        """d log-SNR/dt at times `t`, negative, float64, of the shape of `t` [...]."""
        return 2 * (self.alpha_rate(t) / self.alpha(t) - self.sigma_rate(t) / self.sigma(t))

    @property
    def on_cpu(self) -> NoiseProcess:
        """This process on the CPU, for coefficients that are used as Python numbers; a copy if it is elsewhere.

        A copy synchronises with the device once per tensor, instead of once per coefficient.
        """
        tensors = (*self.parameters(), *self.buffers())
        if all(tensor.device.type == "cpu" for tensor in tensors):
            return self
        return deepcopy(self, {id(tensor): tensor.detach().cpu() for tensor in tensors})

    def log_snr_ends(self, device: torch.device) -> Tensor:
        """The log-SNR at `t_max` and `t_min_trained`, of shape [2], float64 on `device`, within ±`LOG_SNR_LIMIT`."""
        ends = torch.linspace(self.t_max, self.t_min_trained, 2, dtype=torch.float64, device=float64_device(device))
        return self.log_snr(ends).detach().clamp(-LOG_SNR_LIMIT, LOG_SNR_LIMIT)

    @property
    def log_snr_range(self) -> tuple[float, float]:
        """`log_snr_ends` as Python numbers: the lowest and the highest log-SNR."""
        low, high = self.on_cpu.log_snr_ends(torch.device("cpu")).tolist()
        return low, high

    @property
    def prior_std(self) -> float:
        """√(α² + σ²) at `t_max`: the standard deviation of x_t there for data of unit variance."""
        process, t = self.on_cpu, torch.tensor(self.t_max, dtype=torch.float64)
        return torch.hypot(process.alpha(t), process.sigma(t)).item()

    def diffuse(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = α x0 + σ ε for `x0`, `eps` [B, ...] and `t` [B]. Raises ValueError if `t` has another shape."""
        check_times(t, x0)
        return per_sample(self.alpha(t), x0) * x0 + per_sample(self.sigma(t), x0) * eps

    def tweedie(self, t: Tensor) -> Tensor:
        """σ²/α at times `t` [...], the factor in Tweedie's formulas: Cov[x0 | x_t] = σ²/α ∂E[x0 | x_t]/∂x_t, and a
        change of the score changes x0 by σ²/α times that. 0 without signal (α = 0), where x_t is independent of x0."""
        alpha = self.alpha(t)
        return torch.where(alpha > 0, self.sigma(t) ** 2 / alpha, 0.0)

    def likelihood_times(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Times at which the likelihood's integral over the log-SNR is estimated: by default uniform in the log-SNR,
        where the error of ε is bounded.

        Args:
            u: Fractions of the integral [B], in [0, 1].

        Returns:
            Times [B] from `t_min_trained` to `t_max`, and -d log-SNR/du [B].
        """
        low, high = self.log_snr_ends(u.device)  # tensors: numbers would synchronise the device
        return self.time(high - (high - low) * u), (high - low).expand_as(u)

    @contextmanager
    def schedule_gradient(self, factor: Tensor) -> Iterator[None]:
        """A context that scales the gradient of a learned schedule; other processes ignore it.

        Args:
            factor: The factor of the gradient of each sample [B]; may be filled in until the backward pass.
        """
        yield

    def truncated(self, t: float) -> NoiseProcess:
        """A copy of this process with `t_max` = `t`, for a sampler that starts there."""
        ended = copy(self)
        ended.t_max = t
        return ended

    def default_grid(self, steps: int) -> Tensor:
        """The default sampling grid: times [N + 1] from `t_max` to `t_min` for N = `steps`, uniform in t unless a
        subclass overrides it."""
        return torch.linspace(self.t_max, self.t_min, steps + 1, dtype=torch.float64)

    def _apply(self, fn, recurse=True):
        """Moves tensors between devices that support float64, and keeps their dtype: `model.bfloat16()` must not round
        a schedule."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(float64_device(fn(tensor.new_empty(0, dtype=torch.float32)).device))

        return super()._apply(moved, recurse)
