"""Writes `last.ckpt` and `best.ckpt` of a run, and never overwrites them with non-finite weights."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.callbacks.ema import find_ema
from genmods.core import checkpoint as files
from genmods.core.atomic import copy
from genmods.core.errors import UserError
from genmods.core.lightning_internals import is_trial
from genmods.core.places import by_step, kept_checkpoints
from genmods.core.printable import say
from genmods.core.settings import Validated
from genmods.core.system import free
from genmods.tracking.base import run_folder
from genmods.tracking.monitor import Score, monitor_of


class AtomicCheckpointIO(CheckpointIO):
    """CheckpointIO plugin backed by `genmods.core.checkpoint`: atomic, checksummed, plain data only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        files.save(checkpoint, path)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return files.load(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class RunCheckpoint(Validated, Checkpoint):
    """Writes `last.ckpt` every `every_n_steps` steps and at the end, and `best.ckpt` by `monitor`.

    Of two checkpoints with the same value of `monitor`, the one with the lower `val/loss` is better, then the later
    one. `last.ckpt` is written between two optimizer steps only, so that a resumed run continues exactly there. Trial
    runs, `fast_dev_run` and `overfit_batches`, write no checkpoint.

    Args:
        every_n_steps: Number of steps between two writes of `last.ckpt`, at least 1.
        monitor: A logged metric; None uses that of the task.
        mode: Whether a lower ("min") or higher ("max") value is better; None infers it from the name of the metric.
        keep: Number of checkpoints kept as `step_STEP.ckpt`, the newest of those written every `every_n_steps` steps;
            -1 keeps all.
    """

    def __init__(
        self,
        every_n_steps: Annotated[int, Ge(1)] = 500,
        monitor: str | None = None,
        mode: Literal["min", "max"] | None = None,
        keep: Annotated[int, Ge(-1)] = 0,
    ) -> None:
        self.every_n_steps, self.keep = every_n_steps, keep
        self.monitor = None if monitor is None else monitor_of(monitor, mode)
        self.folder = Path("checkpoints")
        self.best: Score | None = None
        self.figures: dict[str, Any] = {}
        self._saved_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.folder = Path(trainer.strategy.broadcast(str(run_folder(trainer) / "checkpoints")))
        self.monitor = self.monitor or getattr(pl_module, "monitor", None)

    @property
    def last_path(self) -> Path:
        """Path of the newest checkpoint."""
        return self.folder / "last.ckpt"

    @property
    def best_path(self) -> Path:
        """Path of the checkpoint with the best value of `monitor`."""
        return self.folder / "best.ckpt"

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best and self.best._asdict(),
            "monitor": self.monitor and asdict(self.monitor),
            "figures": self.figures,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if "figures" not in state_dict:
            raise UserError("the checkpoint was written by an older version of genmods; train the model again")
        self.figures = state_dict["figures"]
        if self.best_path.is_file():  # it may be newer than `last.ckpt`, from a later validation
            try:
                state_dict = files.load(self.best_path)["callbacks"][self.state_key]
            except (UserError, KeyError) as error:
                rank_zero_only(say)(f"{error}; the next validation writes a new one", file=sys.stderr)
                state_dict = {"monitor": None, "best": None}
        if state_dict["monitor"] == self.state_dict()["monitor"] and state_dict["best"]:  # otherwise start a new best
            self.best = Score(**state_dict["best"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["figures"] = self.figures

    def save_last(self, trainer: Trainer) -> None:
        """Writes `last.ckpt`, and keeps it as `step_STEP.ckpt` if `keep` is set."""
        if is_trial(trainer):
            return
        self._save(trainer, self.last_path)
        self._saved_step = step = trainer.global_step
        if self.keep and step % self.every_n_steps == 0 and trainer.is_global_zero:
            copy(self.last_path, self._kept_path(step))
            for path in self._kept(step)[: -self.keep] if self.keep > 0 else ():
                path.unlink()

    def save_kept(self, trainer: Trainer) -> None:
        """Writes only a checkpoint named by its step, which counts for `keep`."""
        self._save(trainer, self._kept_path(trainer.global_step))

    def kept(self, step: int) -> Path | None:
        """The newest checkpoint up to `step` that was kept under its step, or None."""
        return next(reversed(self._kept(step)), None)

    def due(self, trainer: Trainer) -> bool:
        """Whether `last.ckpt` is to be written after the current step."""
        step = trainer.global_step
        due = step % self.every_n_steps == 0 or step == trainer.max_steps or trainer.should_stop
        return due and step != self._saved_step

    def _kept_path(self, step: int) -> Path:
        return self.folder / f"step_{step:06d}.ckpt"

    def _kept(self, step: int) -> list[Path]:
        return [path for path in kept_checkpoints(self.folder) if by_step(path) <= by_step(self._kept_path(step))]

    def _save(self, trainer: Trainer, path: Path) -> None:
        trainer.save_checkpoint(path)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raises UserError if the disk has no space for `last.ckpt` in addition to the previous one."""
        size = checkpoint_size(trainer, pl_module)
        left = free(self.folder)
        if left and left[0] < 2 * size and not is_trial(trainer):
            raise UserError(
                f"{self.folder}: a checkpoint requires about {size:,} bytes, twice as many while it is written, but "
                f"{left[0]:,} are free; nothing was trained"
            )

    def on_step_end(self, trainer: Trainer) -> None:
        if self.due(trainer):
            self.save_last(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self.figures = {"step": trainer.global_step, "values": values}
        if self.monitor is None:
            return
        if self.monitor.name in getattr(pl_module, "left_out", ()):
            return
        score = Score(self.monitor.value(trainer.callback_metrics), values.get("val/loss"))
        if score.improves(self.best, self.monitor.mode) and not is_trial(trainer):
            self.best = score
            self._save(trainer, self.best_path)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step != self._saved_step and trainer.global_step > 0:
            self.save_last(trainer)


def checkpoint_size(trainer: Trainer, module: LightningModule) -> int:
    """The approximate size of a checkpoint in bytes: weights, averages and optimizer states."""
    weights = sum(tensor.nbytes for tensor in module.state_dict().values())
    settings = [optimizer.defaults for optimizer in trainer.optimizers]
    states = sum(2 if "betas" in setting else 1 if setting.get("momentum") else 0 for setting in settings)
    ema = find_ema(trainer)
    return weights * (1 + states + (len(ema.decays) if ema else 0))
