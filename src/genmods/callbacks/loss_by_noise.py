"""The training loss by noise level.

Between validations, the errors per sample are accumulated in equal bins of log-SNR (values outside the range fall into
the outermost bins). Their means are logged as `noise/loss_K`, low noise first, and added to `loss_by_noise.json`. Their
sums over all ranks are in checkpoints, so that a resumed run loses none.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from annotated_types import Gt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from genmods.callbacks.intervals import is_validating_a_fit
from genmods.callbacks.requirement import Requiring
from genmods.core.devices import to_float64
from genmods.core.settings import Count, Validated
from genmods.report.sidecars import read_sidecars
from genmods.tracking.base import logbook, write_json


class LossByNoise(Requiring, Validated, Callback):
    """Averages the `error` [B] returned by `training_step` in `bins` bins of its `log_snr` [B] over [`low`, `high`]."""

    requires = "noise_errors"

    def __init__(self, bins: Count = 10, low: float = -10.0, high: Annotated[float, Gt("low")] = 10.0) -> None:
        self.bins, self.low, self.high = bins, low, high
        self._sums: Tensor | None = None
        self._module: LightningModule | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._module = pl_module

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        position = (self.high - outputs["log_snr"].detach().float()) / (self.high - self.low) * self.bins
        error = to_float64(outputs["error"].detach())
        index = position.floor().clamp(0, self.bins - 1).long().to(error.device)
        if self._sums is None:
            self._sums = torch.zeros(2, self.bins, dtype=torch.float64, device=index.device)
        self._sums = self._sums.to(index.device)  # from the CPU if it was loaded
        finite = torch.isfinite(error)
        self._sums[0].index_add_(0, index, torch.where(finite, error, 0.0))
        self._sums[1].index_add_(0, index, finite.to(error))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not is_validating_a_fit(trainer) or (total := self._total()) is None:
            return
        self._sums = None
        if not trainer.is_global_zero:
            return
        means = [float(s / n) if n else None for s, n in total.T.tolist()]
        width = len(str(self.bins - 1))
        book = logbook(trainer)
        book.metrics({f"noise/loss_{k:0{width}d}": m for k, m in enumerate(means) if m is not None})
        path = book.folder / "loss_by_noise.json"
        history = read_sidecars(book.folder).get("loss_by_noise", {"history": []})["history"]
        step = book.step + 1
        history = [row for row in history if row["step"] < step and len(row["loss"]) == self.bins]
        history.append({"step": step, "loss": means})
        edges = torch.linspace(self.high, self.low, self.bins + 1).tolist()
        write_json(path, {"log_snr_edges": edges, "history": history})

    def _total(self) -> Tensor | None:
        """The sums over all ranks, on the CPU."""
        if self._sums is None or self._module is None:
            return None
        gathered: Any = self._module.all_gather(self._sums)
        return gathered.view(-1, 2, self.bins).sum(dim=0).cpu()

    def state_dict(self) -> dict[str, Any]:
        total = self._total()
        return {"sums": None if total is None else total.tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        sums = state_dict["sums"]
        if sums is not None and len(sums[0]) == self.bins and self._module is not None:
            here = float(self._module.trainer.is_global_zero)  # they are those of all ranks
            self._sums = here * torch.tensor(sums, dtype=torch.float64)
