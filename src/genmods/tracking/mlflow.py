"""MLflow: Lightning's logger, by default with a database beside the runs.

`mlflow ui --backend-store-uri sqlite:///runs/mlflow.db` shows them.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genmods.core.places import runs_folder
from genmods.core.printable import say
from genmods.tracking.base import RunLogger


class MLflowRun(MLFlowLogger, RunLogger):
    """An MLflow run with the metrics, the pictures and the recipe. Requires the extra `mlflow`.

    Args:
        experiment: The experiment that it belongs to.
        name: Its name in MLflow.
        tracking_uri: The address of a server or database; None: `mlflow.db` in the folder of the runs.
    """

    def __init__(self, experiment: str = "genmods", name: str | None = None, tracking_uri: str | None = None) -> None:
        place = runs_folder().absolute()
        local = f"sqlite:///{place / 'mlflow.db'}"
        artifacts = None if tracking_uri else (place / "mlflow").as_uri()
        if not tracking_uri:
            place.mkdir(parents=True, exist_ok=True)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it logs the creation of every table
        try:
            super().__init__(experiment, name, tracking_uri or local, artifact_location=artifacts)
        except ImportError as error:
            raise ImportError("the logger mlflow requires MLflow: pip install 'genmods[mlflow]'") from error

    @property
    def name(self) -> str:
        return "mlflow"

    @property
    def run_id(self) -> str | None:
        """The id of the run, which begins with its first use."""
        return super().run_id

    @run_id.setter
    def run_id(self, value: str) -> None:
        """The run to continue; a new one begins, with a line, if it is not there."""
        from mlflow.exceptions import MlflowException

        try:
            self._mlflow_client.get_run(value)
            self._run_id = value
        except MlflowException:
            say(f"mlflow: the run {value} is not in {self._tracking_uri}: a new one begins", file=sys.stderr)

    @rank_zero_only
    def begin(self, folder: Path, config: dict[str, Any], resume_step: int | None = None) -> None:
        """Log the `config`, with its settings as parameters; a resumed run has them already."""
        self.experiment.log_dict(self.run_id, config, "recipe.yaml")
        if resume_step is None:
            super().log_hyperparams(config)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """No-op: the recipe is logged by `begin`."""

    @rank_zero_only
    def log_picture(self, key: str, path: Path, step: int) -> None:
        self.experiment.log_artifact(self.run_id, str(path), key.rpartition("/")[0] or None)

    def close(self) -> None:
        """Nothing is left to do: Lightning ends the run with its status."""
