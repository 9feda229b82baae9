"""Feature maps of a few layers for one validation image."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.functional import interpolate

from genmods.callbacks.intervals import Periodic
from genmods.core.settings import Count
from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture


class FeatureMaps(Periodic):
    """Draws the first `channels` feature maps of `layers` convolutions at each `every`-th validation.

    The picture has one row per layer, from input to output; each map is scaled to its own range.
    """

    def __init__(self, layers: Count = 6, channels: Count = 12, every: Count = 1) -> None:
        super().__init__(every)
        self.layers, self.channels = layers, channels
        self._hooks = ExitStack()
        self._seen: list[Tensor] = []
        self._due = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._due = self.due(trainer) and trainer.is_global_zero

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._due and batch_idx == 0:
            self._hooks.enter_context(torch.compiler.set_stance("force_eager"))  # compiled networks ignore new hooks
            for layer in pl_module.modules():
                if isinstance(layer, nn.Conv2d):
                    self._hooks.callback(layer.register_forward_hook(self._keep).remove)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._hooks.close()
        maps, self._seen = self._seen, []
        if maps:
            chosen = torch.linspace(0, len(maps) - 1, min(self.layers, len(maps))).round().int().tolist()
            picture = torch.cat([self._row(maps[i]) for i in chosen])
            logbook(trainer).picture("features", to_picture(picture, self.channels))

    def _keep(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        self._seen.append(output[0].detach().float().cpu())

    def _row(self, maps: Tensor) -> Tensor:
        """A layer's maps [C, H, W] as images [channels, 1, 32, 32] in [-1, 1]; missing channels are blank."""
        maps = maps[: self.channels]
        low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
        scaled = interpolate(((maps - low) / (high - low).clamp(min=1e-12) * 2 - 1)[:, None], size=(32, 32))
        missing = torch.full((self.channels - len(maps), 1, 32, 32), 0.0)
        return torch.cat([scaled, missing])
