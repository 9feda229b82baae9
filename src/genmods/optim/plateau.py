"""A learning rate that is lowered when a validation metric has stopped improving."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from genmods.core.settings import NonNegative, Validated

PROGRESS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")


class ReduceOnPlateau(Validated, ReduceLROnPlateau):
    """Multiplies the learning rates by `factor` after `patience` validations in a row without an improvement.

    Args:
        optimizer: The optimizer.
        total_steps: Number of training steps, on which this schedule does not depend.
        monitor: A logged metric of each validation.
        mode: Whether lower ("min") or higher ("max") is better.
        factor: Multiplies the learning rates, in (0, 1).
        patience: Number of validations without an improvement before a reduction.
        threshold: The smallest relative change that counts as an improvement.
        cooldown: Number of validations after a reduction that are not counted.
        min_lr: Lower bound of the learning rates.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: Annotated[int, Ge(1)],
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        factor: Annotated[float, Gt(0), Lt(1)] = 0.1,
        patience: Annotated[int, Ge(0)] = 5,
        threshold: NonNegative = 1e-4,
        cooldown: Annotated[int, Ge(0)] = 0,
        min_lr: NonNegative = 0.0,
    ) -> None:
        self.monitor = monitor
        super().__init__(optimizer, mode, factor, patience, threshold, cooldown=cooldown, min_lr=min_lr)

    def state_dict(self) -> dict[str, Any]:
        """The progress without the settings, so that a resumed run follows the settings of its recipe."""
        return {key: value for key, value in super().state_dict().items() if key in PROGRESS}
