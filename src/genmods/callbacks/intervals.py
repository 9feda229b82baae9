"""When callbacks act: at every n-th validation of a fit, or at Lightning's logging steps."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer

from genmods.core.lightning_internals import is_accumulating, is_last_step, logged_step
from genmods.core.settings import Count, Validated


def is_validating_a_fit(trainer: Trainer) -> bool:
    """Whether this validation belongs to a fit and is not a sanity check."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def is_log_step(trainer: Trainer) -> bool:
    """Whether a row is logged after the current training batch, which completes a step."""
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    due = (logged_step(trainer) + 1) % interval == 0 or is_last_step(trainer)
    return due and not is_accumulating(trainer)


class Periodic(Validated, Callback):
    """A callback that acts in every `every`-th validation of a fit, the first and the last included.

    The count is saved with the checkpoints, so that a resumed run acts in the same validations.
    """

    def __init__(self, every: Count = 1) -> None:
        self.every, self._validations = every, 0

    def due(self, trainer: Trainer) -> bool:
        """Whether to act in this validation. Call it once per validation."""
        if not is_validating_a_fit(trainer):
            return False
        self._validations += 1
        return (self._validations - 1) % self.every == 0 or is_last_step(trainer) or trainer.should_stop

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._validations = state_dict["validations"]
