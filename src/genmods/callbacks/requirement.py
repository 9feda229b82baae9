"""Callbacks for certain models only."""

from __future__ import annotations

from typing import ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.core.abilities import requirement
from genmods.core.errors import UserError
from genmods.models import model_of


class Requiring(Callback):
    """A callback for models, or tasks, that have the member `requires`, unless it is a setting of the callback.

    A recipe whose model has the setting `excludes` is refused when it is read.
    """

    requires: ClassVar[str]
    excludes: ClassVar[str | None] = None

    def require(self, task: LightningModule) -> None:
        """Raises UserError if neither the task, nor its model, nor this callback has the member."""
        if all(getattr(owner, self.requires, None) is None for owner in (model_of(task), task, self)):
            raise UserError(f"{type(self).__name__} {requirement(self.requires)}, got {type(task).__name__}")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.require(pl_module)
