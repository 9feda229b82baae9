"""TensorBoard: Lightning's logger, with its files in the run folder; `tensorboard --logdir runs` shows all runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.tracking.base import RunLogger


class TensorBoardRun(TensorBoardLogger, RunLogger):
    """Event files in `tensorboard` of the run folder. Requires the extra `tensorboard`."""

    def __init__(self) -> None:
        try:
            super().__init__(".", name="", version="")
        except ImportError as error:
            raise ImportError(
                "the logger tensorboard requires TensorBoard: pip install 'genmods[tensorboard]'"
            ) from error

    @property
    def name(self) -> str:
        return "tensorboard"

    @property
    def log_dir(self) -> str:
        return str(self._root_dir)

    @rank_zero_only
    def begin(self, folder: Path, config: dict[str, Any], resume_step: int | None = None) -> None:
        """Write to `folder`; rows from `resume_step` on are hidden, since they will be repeated."""
        self._root_dir = str(folder / "tensorboard")
        self._kwargs["purge_step"] = resume_step
        if resume_step is None:
            lines = json.dumps(config, indent=1).splitlines()
            self.experiment.add_text("recipe", "".join(f"    {line}\n" for line in lines))  # as Markdown's code

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """No-op: the recipe is logged by `begin`."""

    @rank_zero_only
    def log_picture(self, key: str, path: Path, step: int) -> None:
        import numpy as np
        from PIL import Image

        self.experiment.add_image(key, np.asarray(Image.open(path).convert("RGB")), step, dataformats="HWC")

    @rank_zero_only
    def save(self) -> None:
        """Write what is waiting."""
        if self._experiment is not None:
            self._experiment.flush()

    @rank_zero_only
    def close(self) -> None:
        self.save()
