"""Sets the Trainer's precision: rank 0 resolves it before the run begins, the other ranks use the same."""

from __future__ import annotations

import sys

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import nn

from genmods.core.precision import FULL, NAMES, resolve
from genmods.core.printable import say


def unsettled(asked: str) -> str:
    """The precision with which a Trainer is created, before `settle`."""
    return FULL if asked == "auto" else NAMES.get(asked, asked)


@rank_zero_only
def settle(trainer: Trainer, model: nn.Module, asked: str, kept: str | None, quiet: bool) -> None:
    """Set the Trainer's precision to what `asked` resolves to, and print it with the reason on stderr.

    Args:
        trainer: Created with the precision `unsettled(asked)`.
        model: The model that it trains or evaluates.
        asked: `trainer.precision` of the recipe.
        kept: Precision of the checkpoint that the run starts from, or None.
        quiet: Print nothing, unless this device does not support the precision `kept`.
    """
    grouped = any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in model.modules())
    choice = resolve(asked, trainer.strategy.root_device, kept, grouped)
    if asked == "auto":
        use(trainer, choice.value)
    if not quiet or (asked == "auto" and choice.value != (kept or choice.value)):
        say(f"precision {choice}", file=sys.stderr)


def use(trainer: Trainer, precision: str) -> None:
    """Change the Trainer's precision, `32-true`, `bf16-mixed` or `16-mixed`, before its run begins."""
    if precision != trainer.precision:
        plugin = Precision() if precision == FULL else MixedPrecision(precision, trainer.strategy.root_device.type)  # type: ignore[arg-type]
        trainer.strategy.precision_plugin = plugin


class SamePrecision(Callback):
    """Makes all ranks compute in the precision of rank 0."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        use(trainer, trainer.strategy.broadcast(trainer.precision))
