"""Learning-rate schedules: lr(step) = base lr x warm-up x decay, a closed form of the step, stepped every batch.

With W warm-up steps of T in all, step s = 0, 1, ... has the factor (s + 1) / W while s < W, and decay(p) after it, with
progress p = (s - W) / (T - W) held at 1 past the end. Each parameter group keeps its own base rate.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

SETTINGS = ("base_lrs", "total_steps", "warmup_steps", "end")


class Schedule(LRScheduler):
    """Warm-up, then the `decay` of a subclass.

    `warmup` below 1 is a share of `total_steps`, from 1 on a number of steps, at most all (so that a long recipe can be
    tried for a few steps); `end` is the factor that is left at the end. Raises ValueError for a `total_steps` below 1,
    a negative `warmup`, or an `end` outside [0, 1].
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.05, end: float = 0.0) -> None:
        if not 1 <= total_steps < math.inf:
            raise ValueError(f"total_steps must be at least 1 and finite, not {total_steps}")
        self.total_steps = int(total_steps)
        if warmup < 0:
            raise ValueError(f"warmup must not be negative, not {warmup}")
        self.warmup_steps = round(warmup * self.total_steps) if warmup < 1 else min(int(warmup), self.total_steps)
        if not 0 <= end <= 1:
            raise ValueError(f"end must be in [0, 1], not {end}")
        self.end = end
        super().__init__(optimizer)

    def decay(self, progress: float) -> float:
        """The factor at `progress` in [0, 1] of the steps behind the warm-up."""
        raise NotImplementedError

    def factor(self, step: int) -> float:
        """What the base rate is multiplied with at `step` = 0, 1, ..."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.decay(min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)))

    def state_dict(self) -> dict[str, Any]:
        """Where the training stands, without the settings: a run that goes on for longer follows its new schedule."""
        return {key: value for key, value in super().state_dict().items() if key not in SETTINGS}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({key: value for key, value in state_dict.items() if key not in SETTINGS})
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr

    def get_lr(self) -> list[float | Tensor]:
        return [base * self.factor(self.last_epoch) for base in self.base_lrs]


class CosineSchedule(Schedule):
    """Warm-up, then half a cosine from 1 to `end` (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts)."""

    def decay(self, progress: float) -> float:
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * progress)) / 2


class LinearSchedule(Schedule):
    """Warm-up, then a straight line from 1 to `end`: the triangle of short runs with `warmup` 0.2."""

    def decay(self, progress: float) -> float:
        return 1 + (self.end - 1) * progress


class ConstantSchedule(Schedule):
    """Warm-up, then the base rate."""

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.05) -> None:
        super().__init__(optimizer, total_steps, warmup)

    def decay(self, progress: float) -> float:
        return 1.0
