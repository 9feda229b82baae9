"""When callbacks act: at every n-th validation of a fit, or at Lightning's logging steps."""

from __future__ import annotations

from lightning.pytorch import Trainer

from genmods.core.lightning_internals import logged_step


def is_validating_a_fit(trainer: Trainer) -> bool:
    """Whether this validation belongs to a fit and is not a sanity check."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def is_log_step(trainer: Trainer) -> bool:
    """Whether Lightning logs after the current training batch."""
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return (logged_step(trainer) + 1) % interval == 0


class EveryNth:
    """Counts the validations of a fit and selects every `n`-th of them, starting with the first."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"every must be at least 1, not {n}")
        self.n, self.count = n, 0

    def due(self, trainer: Trainer) -> bool:
        """Whether to act in this validation. Call it once per validation."""
        if not is_validating_a_fit(trainer):
            return False
        self.count += 1
        return (self.count - 1) % self.n == 0
