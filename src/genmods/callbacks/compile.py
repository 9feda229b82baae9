"""Compiled networks: `torch.compile` in place, so that names in checkpoints and exports stay as they are.

The first steps take a minute or so longer and the following ones are faster on a GPU; on a CPU little is gained.
"""

from __future__ import annotations

from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer

from genmods.networks.base import outermost_networks


class Compile(Callback):
    """Compiles the networks of a task with `torch.compile` in its `mode`, each as a whole (in place).

    A network inside another one is compiled with it. A network that was compiled before is left as it is, and so is one
    that is differentiated twice, such as a discriminator with the R1 penalty.
    """

    def __init__(self, mode: Literal["default", "reduce-overhead", "max-autotune"] = "default") -> None:
        self.mode = mode

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        task: Any = pl_module
        for network in outermost_networks(task):
            if network._compiled_call_impl is None and network not in task.double_backward:
                network.compile(mode=self.mode)
