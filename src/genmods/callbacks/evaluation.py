"""Metrics of samples during training, such as `val/fid_2k`: the metrics of `evaluate`, under the same names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from annotated_types import Ge
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from genmods.callbacks.intervals import Periodic
from genmods.callbacks.requirement import Requiring
from genmods.callbacks.sample_grid import sample_shared, sample_table
from genmods.callbacks.stopping import looking
from genmods.callbacks.weights import evaluation_weights
from genmods.core.errors import UserError
from genmods.core.settings import Count, GrayLevels, Seed
from genmods.data.base import DataModule
from genmods.metrics.base import EvaluationData, Metric, require_enough
from genmods.metrics.extractors import FeatureExtractor, PixelFeatures
from genmods.metrics.features import classifier_features
from genmods.models import HasLikelihood, model_of
from genmods.tasks.base import Task
from genmods.tracking.base import logbook
from genmods.visual.picture import to_picture


class Evaluation(Requiring, Periodic):
    """Computes `metrics` of `n` samples from EMA weights at each `every`-th validation, as `val/NAME`.

    `features` is a classifier, `{from: RUN}`, and `extractor` a part of the kind `features`, such as
    `efficientnet_lite0`. Without them, pixels are compared, which is only useful for very small images.
    """

    requires = "sample"

    def __init__(
        self,
        metrics: list[Metric],
        n: Annotated[int, Ge(2)] = 2000,
        every: Count = 1,
        seed: Seed = 1,
        features: Task | None = None,
        extractor: FeatureExtractor | None = None,
        levels: GrayLevels = 256,
    ) -> None:
        super().__init__(every)
        self.metrics, self.n, self.seed, self.levels = metrics, n, seed, levels
        if features is not None and extractor is not None:
            raise ValueError("features and extractor cannot both be set")
        _refuse_unsupported(metrics, features is not None)
        self.classifier, self.extractor = None if features is None else model_of(features), extractor
        self._reference: EvaluationData | None = None

    def require(self, task: LightningModule) -> None:
        """Raises UserError if the model does not generate images, or a metric cannot be computed for it."""
        super().require(task)
        for metric in self.metrics:
            metric.check_model(model_of(task))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        splits = trainer.datamodule.splits  # type: ignore[attr-defined]
        test = len(splits["val"]) if "val" in splits else None
        found = {"samples": self.n, "train": len(splits["train"]), "test": test}
        require_enough({type(metric).__name__: metric for metric in self.metrics}, found)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.due(trainer):
            return
        figures: dict[str, float] = {}
        with evaluation_weights(trainer, pl_module):
            samples = sample_shared(trainer, pl_module, self.n, self.seed).cpu()
            if trainer.is_global_zero:
                figures = self._evaluate(trainer, model_of(pl_module), samples)
        pl_module.log_dict(trainer.strategy.broadcast(figures), sync_dist=True)

    def _evaluate(self, trainer: Trainer, model: Any, samples: Tensor) -> dict[str, float]:
        """Compute the metrics by name, and log the samples and the metrics' pictures."""
        book, show = logbook(trainer), trainer.datamodule.show  # type: ignore[attr-defined]
        book.rows(*sample_table(model, show(samples), book.step + 1, self.seed))
        figures: dict[str, float] = {}
        for metric in self.metrics:
            try:
                results = metric(self._evaluation_data(trainer, model, samples))
            except ValueError as error:
                raise UserError(f"callbacks.evaluation: {type(metric).__name__}: {error}") from error
            figures |= {f"val/{figure.name}": figure.value for figure in results.values}
            for name, images in results.pictures.items():
                book.picture(name, to_picture(show(images), columns=5))
        return figures

    def _evaluation_data(self, trainer: Trainer, model: Any, samples: Tensor) -> EvaluationData:
        """The samples with the training images and their features, which are computed only once."""
        if self._reference is None:
            data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
            train, test = (data.arrays(split) or (None, None) for split in ("train", "val"))
            classifier, device = self.classifier, str(model.device)
            extractor = self.extractor or PixelFeatures()
            features = extractor.features(device) if classifier is None else classifier_features(classifier, device)
            self._reference = EvaluationData(
                train=train[0],
                train_labels=train[1],
                test=test[0],
                test_labels=test[1],
                features=features,
                model=model,
                likelihood=model.likelihood() if isinstance(model, HasLikelihood) else None,
                n=self.n,
                levels=self.levels,
                seed=self.seed,
                progress=looking(trainer),
            )
        for name in ("samples", "sample_features"):
            self._reference.__dict__.pop(name, None)
        self._reference.generate = lambda n: samples
        return self._reference


def _refuse_unsupported(metrics: Sequence[Metric], has_classes: bool) -> None:
    """Raises ValueError for a metric that cannot be computed during training, or not without a classifier."""
    for name, needs in ((type(metric).__name__, metric.needs) for metric in metrics):
        if "others" in needs:
            raise ValueError(f"metrics: {name} requires other images; use the command `evaluate`")
        if "classes" in needs and not has_classes:
            raise ValueError(f"metrics: {name} requires features of a classifier, features: {{from: RUN}}")
