"""Weights & Biases: Lightning's logger with its traps closed.

- It works without an account: where there is no key, or the server gives no answer in time, the run is kept offline.
- W&B's own step is the trainer's step, and never goes back: no row is dropped, a resumed run continues its axis, and
  pictures stand in the row of their metrics.
- The configuration is the whole recipe, nested, with the environment; checkpoints are one artifact with the aliases
  `last` and `best`, uploaded once at the end.
"""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from genmods.tracking.base import RunLogger
from genmods.tracking.names import direction
from genmods.tracking.probe import why_unreachable

STEP = "trainer/global_step"
INIT_SECONDS = 4.0


def new_run_id() -> str:
    """A fresh run id: eight letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


class WandbRun(WandbLogger, RunLogger):
    """A W&B run in the run folder.

    `mode` None decides by itself between online and offline; `WANDB_MODE` is heeded. `log_model` uploads the
    checkpoints at the end. `finish_timeout` bounds the wait for the last upload, in seconds; what was not sent lies on
    disk.
    """

    def __init__(
        self,
        project: str = "genmods",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        log_model: bool = True,
        mode: Literal["online", "offline", "disabled"] | None = None,
        finish_timeout: float = 4.0,
    ) -> None:
        self.run_id = new_run_id()
        super().__init__(
            name=name,
            project=project,
            id=self.run_id,
            entity=entity,
            group=group,
            job_type=job_type,
            tags=tags,
            notes=notes,
        )
        self.upload_checkpoints = log_model
        self.mode = mode
        self.finish_timeout = finish_timeout
        self._last_step = 0
        self._defined: set[str] = set()
        self._configured = False
        self._lost = False

    @rank_zero_only
    def begin(self, folder: Path, config: dict[str, Any], resume_step: int | None = None) -> None:
        """Keep the run in `folder`/wandb with `config`. To resume a run, set `run_id` beforehand."""
        folder.mkdir(parents=True, exist_ok=True)
        self._save_dir = str(folder)
        self._wandb_init |= {"dir": str(folder), "config": config}
        self._last_step = resume_step or 0
        self._configured = True

    @property
    def experiment(self) -> Any:
        """The W&B run, started at first use; a dummy on other ranks."""
        if self._experiment is None:
            self._start()
        return super().experiment

    @rank_zero_only
    def _start(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its sender waits for the server when the process ends
        import wandb

        if wandb.run is not None:
            wandb.run.finish()
        mode = self.mode or os.environ.get("WANDB_MODE") or "online"
        if mode == "online" and (reason := why_unreachable(wandb.setup().settings.base_url)):
            rank_zero_info(f"wandb: {reason}: this run is kept offline")
            mode = "offline"
        try:
            self._experiment = self._init(mode)
        except wandb.Error as error:
            rank_zero_info(f"wandb: {str(error).splitlines()[0]}: this run is kept offline")
            wandb.teardown()  # the failed start still holds the run id
            self._experiment = self._init("offline")
        self._experiment.define_metric(STEP)
        self._experiment.define_metric("*", step_metric=STEP, step_sync=True)

    def _init(self, mode: str) -> Any:
        import wandb

        wait = self.finish_timeout if mode == "online" else 0.0  # offline there is only this machine's disk to wait for
        settings = wandb.Settings(finish_timeout=wait, init_timeout=INIT_SECONDS, silent=True)
        self._wandb_init |= {"id": self.run_id, "mode": mode, "settings": settings}
        return wandb.init(**{name: value for name, value in self._wandb_init.items() if name != "anonymous"})

    @property
    def offline(self) -> bool:
        """Whether the run is kept on this machine only."""
        return self._wandb_init.get("mode") == "offline"

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Take hyper-parameters of a module used without a recipe; a recipe's configuration is complete already."""
        if not self._configured:
            super().log_hyperparams(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log figures, or W&B objects, at the trainer's step."""
        step = self._last_step if step is None else step
        self._last_step = max(self._last_step, step)
        if self._lost:
            return
        run = self.experiment
        with self._surviving():
            for name in metrics.keys() - self._defined:
                run.define_metric(name, step_metric=STEP, summary=f"{direction(name)},last")
            self._defined |= metrics.keys()
            run.log({**metrics, STEP: step}, step=self._last_step)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Within the block nothing that W&B's own process does, not even its crash, ends the training."""
        try:
            yield
        except Exception as error:
            self._lost = True
            rank_zero_info(f"wandb: {type(error).__name__}: {error}: logging to W&B ends here, metrics.csv goes on")

    @rank_zero_only
    def log_picture(self, key: str, path: Path, step: int) -> None:
        import wandb

        self.log_metrics({key: wandb.Image(str(path), caption=f"step {step + 1}")}, step)

    @rank_zero_only
    def log_rows(self, key: str, columns: list[str], rows: list[list[Any]], step: int) -> None:
        import wandb
        from PIL.Image import Image

        cells = [[wandb.Image(cell) if isinstance(cell, Image) else cell for cell in row] for row in rows]
        self.log_metrics({key: wandb.Table(columns=list[str | int](columns), data=cells)}, step)

    @rank_zero_only
    def use_data(self, name: str, digest: str, metadata: dict[str, Any]) -> None:
        """Record that the run used a data set, by its hash; the images are not uploaded.

        The public `use_artifact` does the same, but refuses offline and waits for the server online.
        """
        import wandb

        artifact = wandb.Artifact(name, type="dataset", metadata=metadata | {"hash": digest})
        with artifact.new_file("hash.txt") as file:
            file.write(digest + "\n")
        self.experiment._log_artifact(artifact, aliases=["latest"], is_user_created=True, use_after_commit=True)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Upload checkpoints after a fit that ended well, and say where an offline run lies."""
        if self._experiment is None:
            return
        if status == "success" and self.upload_checkpoints and self._save_dir and not self._lost:
            self._log_checkpoints(Path(self._save_dir) / "checkpoints")
        if self.offline:
            rank_zero_info(f"wandb: to upload this run: {self.sync_command}")

    @property
    def sync_command(self) -> str:
        """The command line that uploads an offline run."""
        return f"wandb sync {Path(self.experiment.dir).parent}"

    def _log_checkpoints(self, folder: Path) -> None:
        import wandb

        for alias in ("best", "last"):
            path = folder / f"{alias}.ckpt"
            if path.is_file():
                metadata = {"step": self._last_step, "file": path.name}
                artifact = wandb.Artifact(f"model-{self.run_id}", type="model", metadata=metadata)
                artifact.add_file(str(path.resolve()), name="model.ckpt", policy="immutable")
                with self._surviving():
                    self.experiment.log_artifact(artifact, aliases=[alias])

    @rank_zero_only
    def close(self) -> None:
        """Send what is left, for at most `finish_timeout` seconds, and end the W&B run."""
        if self._experiment is not None:
            with self._surviving():
                self._experiment.finish()
            self._experiment = None


def download_checkpoint(reference: str, folder: Path) -> Path:
    """Fetch a checkpoint artifact `entity/project/model-ID:alias` into `folder`; a present run records its use."""
    return Path(str(WandbLogger.download_artifact(reference, str(folder), artifact_type="model"))) / "model.ckpt"
