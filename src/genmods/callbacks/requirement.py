"""Callbacks for certain models only."""

from __future__ import annotations

from typing import ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.core.abilities import requirement
from genmods.core.errors import UserError
from genmods.models import model_of


class Requiring(Callback):
    """A callback for models, or tasks, that have the member `requires`; a recipe with others is refused when read."""

    requires: ClassVar[str]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Raises UserError if neither the model nor its task has the member."""
        if all(getattr(owner, self.requires, None) is None for owner in (model_of(pl_module), pl_module)):
            raise UserError(
                f"the callback {type(self).__name__} {requirement(self.requires)}, got {type(pl_module).__name__}"
            )
