"""`torch.compile` in place, which does not change the names in checkpoints and exports.

The first steps take about a minute longer. Later steps are faster on a GPU; the gain on a CPU is small.
"""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.core.settings import Validated
from genmods.networks.base import outermost_networks


class Compile(Validated, Callback):
    """Compiles each network of a task in place with `torch.compile` in the given `mode`.

    Networks inside another network are compiled with it. Skips networks that are already compiled or that need double
    backward, such as a discriminator with the R1 penalty.
    """

    def __init__(self, mode: Literal["default", "reduce-overhead", "max-autotune"] = "default") -> None:
        self.mode = mode

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        task: Any = pl_module
        for network in outermost_networks(task):
            if network._compiled_call_impl is None and network not in task.double_backward:
                network.compile(mode=self.mode)
