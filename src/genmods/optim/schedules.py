"""Learning-rate schedules in closed form, stepped every batch: linear warm-up, then a decay.

With W warm-up steps out of T steps, step s = 0, 1, ... has the factor (s + 1) / W while s < W, and decay(p) afterwards,
with progress p = (s - W) / (T - W), at most 1. The factor multiplies the base learning rate of each parameter group.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from annotated_types import Ge, Le
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genmods.core.settings import Fraction, Validated

SETTINGS = ("base_lrs", "total_steps", "warmup_steps", "end")


class Schedule(Validated, LRScheduler):
    """Warm-up, then the `decay` of a subclass.

    Args:
        optimizer: The optimizer.
        total_steps: Number of training steps.
        warmup: A fraction of `total_steps` if below 1, otherwise a number of steps.
        end: Final factor.

    Raises:
        ValueError: If `total_steps` is below 1, `warmup` negative or longer than the run, or `end` outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Annotated[int, Ge(1)],
        warmup: Annotated[float, Ge(0), Le("total_steps")] = 0.05,
        end: Fraction = 0.0,
    ) -> None:
        self.total_steps = total_steps
        self.warmup_steps = round(warmup * self.total_steps) if warmup < 1 else int(warmup)
        self.end = end
        super().__init__(optimizer)

    def decay(self, progress: float) -> float:
        """The factor at `progress` in [0, 1] of the steps after the warm-up."""
        raise NotImplementedError

    def factor(self, step: int) -> float:
        """The factor of the base learning rate at `step` = 0, 1, ..."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.decay(min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)))

    def state_dict(self) -> dict[str, Any]:
        """The progress without the settings, so that a run resumed for more steps follows its new schedule."""
        return {key: value for key, value in super().state_dict().items() if key not in SETTINGS}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({key: value for key, value in state_dict.items() if key not in SETTINGS})
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr

    def get_lr(self) -> list[float | Tensor]:
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]


class CosineSchedule(Schedule):
    """Warm-up, then cosine decay from 1 to `end` (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts)."""

    def decay(self, progress: float) -> float:
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * progress)) / 2


class LinearSchedule(Schedule):
    """Warm-up, then linear decay from 1 to `end`: the triangular schedule of short runs with `warmup` 0.2."""

    def decay(self, progress: float) -> float:
        return 1 + (self.end - 1) * progress


class ConstantSchedule(Schedule):
    """Warm-up, then a constant learning rate."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Annotated[int, Ge(1)],
        warmup: Annotated[float, Ge(0), Le("total_steps")] = 0.05,
    ) -> None:
        super().__init__(optimizer, total_steps, warmup)

    def decay(self, progress: float) -> float:
        return 1.0
