"""Weights & Biases: a `WandbLogger` hardened against outages.

- It works without an account: without an API key, or if the server does not respond in time, the run is logged offline.
- W&B's step is the trainer's step and never decreases: no row is dropped, a resumed run continues its axis, and
  pictures are in the row of their metrics.
- The configuration is the whole recipe, nested, with the environment. Checkpoints are one artifact with the aliases
  `last` and `best`, uploaded once at the end; older versions are deleted unless they have another alias.
- A failing server delays the training by less than five seconds and never interrupts it.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import string
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only

from genmods.core.errors import UserError, first_line
from genmods.core.limits import Form, shown
from genmods.core.settings import Validated
from genmods.tracking.artifacts import checkpoint_artifact, remove_superseded
from genmods.tracking.base import RunLogger
from genmods.tracking.names import direction
from genmods.tracking.probe import why_unreachable

STEP = "trainer/global_step"
START_SECONDS = 3.5
"""Timeout for the probe and the start of the run, in seconds."""
END_SECONDS = 2.5
"""Timeout for rows and pictures that are not yet uploaded at the end, in seconds."""
UPLOAD_SECONDS = 600
"""Timeout for the upload of checkpoints to a responsive server, in seconds."""

Name = Annotated[
    str, Form(r"(?!\s)[^\x00-\x1f\x7f]{1,128}(?<!\s)", "1 to 128 printable characters, no space at the ends")
]
Tag = Annotated[str, Form(r"(?!\s)[^\x00-\x1f\x7f]{1,64}(?<!\s)", "1 to 64 printable characters, no space at the ends")]
ProjectName = Annotated[Name, Form(r"[^/\\#?%:]*", "without / \\ # ? % :")]
EntityName = Annotated[Name, Form(r"[^ /\\#?%:]*", "without space and / \\ # ? % :")]
"""Texts that the server accepts."""


def new_run_id() -> str:
    """A new run id: eight letters and digits."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


class WandbRun(Validated, WandbLogger, RunLogger):
    """A W&B run in the run folder.

    With `mode` None, the run is online if the server is reachable, otherwise offline; `WANDB_MODE` is respected.
    `log_model` uploads the checkpoints at the end. Data that could not be uploaded is stored on disk, and the command
    that uploads it is printed.
    """

    def __init__(
        self,
        project: ProjectName = "genmods",
        entity: EntityName | None = None,
        name: Name | None = None,
        group: Name | None = None,
        job_type: Name | None = None,
        tags: list[Tag] | None = None,
        notes: str | None = None,
        log_model: bool = True,
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        self.run_id = os.environ.get("WANDB_RUN_ID") or new_run_id()  # set by the agent of a sweep
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
        self._last_step = 0
        self._defined: set[str] = set()
        self._configured = False
        self._lost = False
        self._ended_well = False

    @property
    def run_id(self) -> str:
        """The id of the run in its project, also in the names of its artifacts."""
        return self._run_id

    @run_id.setter
    def run_id(self, value: str) -> None:
        """Raises UserError for an id that W&B refuses."""
        if not re.fullmatch("[A-Za-z0-9_.-]{1,64}", value):
            message = f"1 to 64 letters, digits and - _ ., got {shown(value)}"
            raise UserError(f"the id of a W&B run (WANDB_RUN_ID) must have {message}")
        self._run_id = value

    @rank_zero_only
    def begin(self, folder: Path, config: dict[str, Any], resume_step: int | None = None) -> None:
        """Store the run in `folder`/wandb with `config`. To resume a run, set `run_id` before."""
        folder.mkdir(parents=True, exist_ok=True)
        self._save_dir = str(folder.resolve())  # W&B's process may have another working directory
        self._wandb_init |= {"dir": self._save_dir, "config": config}
        self._last_step = resume_step or 0
        self._configured = True

    @property
    def experiment(self) -> Any:
        """The W&B run, started at its first use; a dummy on other ranks."""
        if self._experiment is None:
            self._start()
        return super().experiment

    @rank_zero_only
    def _start(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its sender waits for the server when the process ends
        import wandb

        if wandb.run is not None:
            wandb.run.finish()
        mode, began = self.mode or os.environ.get("WANDB_MODE") or "online", time.monotonic()
        if mode == "online" and (reason := why_unreachable(wandb.setup().settings.base_url)):
            rank_zero_info(f"wandb: {reason}: logging this run offline")
            mode = "offline"
        try:
            self._experiment = self._init(mode, START_SECONDS - (time.monotonic() - began))
        except wandb.Error as error:
            rank_zero_info(f"wandb: {first_line(error)}: logging this run offline")
            wandb.teardown()  # the failed start still holds the run id
            self._experiment = self._init("offline")
        # a killed run may have logged steps after its last checkpoint, and W&B's own step cannot go back
        self._last_step = max(self._last_step, self._experiment.starting_step)
        with self._surviving():
            self._experiment.define_metric(STEP)
            self._experiment.define_metric("*", step_metric=STEP, step_sync=True)
        if mode == "online" and not self.offline:
            rank_zero_info(f"wandb: {self._experiment.url}")

    def _init(self, mode: str, seconds: float = START_SECONDS) -> Any:
        import wandb

        wait = END_SECONDS if mode == "online" else 0.0  # offline there is only this machine's disk to wait for
        settings = wandb.Settings(
            init_timeout=max(seconds, 0.5), finish_timeout=wait, finish_timeout_raises=True, silent=True
        )
        self._wandb_init |= {"id": self.run_id, "mode": mode, "settings": settings}
        return wandb.init(**{name: value for name, value in self._wandb_init.items() if name != "anonymous"})

    @property
    def offline(self) -> bool:
        """Whether the run is logged on this machine only."""
        return self._wandb_init.get("mode") == "offline"

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log hyperparameters of a module used without a recipe; the configuration of a recipe is complete."""
        if not self._configured:
            super().log_hyperparams(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics, or W&B objects, at the trainer's step."""
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
        """Context in which no failure of W&B's process, not even a crash, ends the training."""
        try:
            yield
        except Exception as error:
            self._lost = True
            rank_zero_info(
                f"wandb: {type(error).__name__}: {first_line(error)}: logging to W&B stops here, metrics.csv continues"
            )

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
        """Record that the run used a data set, by its hash; the images are not uploaded."""
        import wandb

        artifact = wandb.Artifact(name, type="dataset", metadata=metadata | {"hash": digest})
        with artifact.new_file("hash.txt") as file:
            file.write(digest + "\n")
        self._publish(artifact, ["latest"], used=True)

    @rank_zero_only
    def log_origin(self, checkpoint: Path, results: list[Path]) -> None:
        """Record that the files `results` were made with a checkpoint."""
        import wandb

        self._publish(checkpoint_artifact(checkpoint, self.run_id, self._last_step), ["latest"], used=True)
        artifact = wandb.Artifact(f"samples-{self.run_id}", type="samples", metadata={"checkpoint": str(checkpoint)})
        for path in results:
            artifact.add_file(str(path))
        self._publish(artifact, ["latest"])

    def _publish(self, artifact: Any, aliases: list[str], used: bool = False) -> None:
        """Pass an artifact, made or `used` by the run, to W&B's process, which stores and uploads it.

        The public `log_artifact` and `use_artifact` wait for the server, and the latter does not work offline.
        """
        run = self.experiment
        if self._lost or run.disabled:
            return
        with self._surviving():
            artifact.finalize()
            run._interface.publish_artifact(run, artifact, aliases, is_user_created=used, use_after_commit=used)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Record the status of the fit."""
        self._ended_well = status == "success"

    @rank_zero_only
    def close(self) -> None:
        """Upload the checkpoints of a successful fit, finish the W&B run and print how to upload the remaining data."""
        if self._experiment is None:
            return
        complete, command = not self.offline, self.sync_command
        if self._ended_well and self.upload_checkpoints and not self._lost:
            with self._surviving():
                self._log_checkpoints(Path(self._save_dir or ".") / "checkpoints")
        with self._surviving():
            try:
                self._experiment.finish()
            except TimeoutError:
                complete = False
        if not complete or self._lost:
            rank_zero_info(f"wandb: to upload this run: {command}")
        self._experiment = None

    @property
    def sync_command(self) -> str:
        """The command that uploads the run from disk.

        It names each part that a resumed run has there: W&B uploads parts of one id one by one, in order of time.
        """
        folder = Path(self.experiment.dir).parent
        parts = {folder, *folder.parent.glob(f"offline-run-*-{self.run_id}")}
        here = Path.cwd()
        shown = [
            str(part.relative_to(here) if part.is_relative_to(here) else part) for part in sorted(parts, key=_began)
        ]
        skipped = () if folder.name.startswith("offline-") else ("--include-online",)
        return f"wandb sync {shlex.join([*skipped, *shown])}"

    def _log_checkpoints(self, folder: Path) -> None:
        import wandb

        run, run_id, step = self.experiment, self.run_id, self._last_step
        paths = {alias: folder / f"{alias}.ckpt" for alias in ("best", "last") if (folder / f"{alias}.ckpt").is_file()}
        if self.offline or run.disabled:
            for alias, path in paths.items():
                self._publish(checkpoint_artifact(path, run_id, step), ["latest", alias])
        elif why_unreachable(run.settings.base_url, 1.0) is None:  # otherwise it would delay the end of the run
            made = {alias: checkpoint_artifact(path, run_id, step) for alias, path in paths.items()}
            logged = [run.log_artifact(artifact, aliases=[alias]) for alias, artifact in made.items()]
            for artifact in logged:
                artifact.wait(UPLOAD_SECONDS)
            name = f"{run.entity}/{run.project}/model-{run_id}"
            remove_superseded(wandb.Api(timeout=10).artifacts("model", name) if logged else [])


def _began(part: Path) -> str:
    """When a part of a run began, from the name of its folder."""
    return part.name.removeprefix("offline-")
