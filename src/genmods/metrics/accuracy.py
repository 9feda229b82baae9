"""Accuracy of a classifier, or of a class-conditional diffusion model used as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor

from genmods.core.settings import BatchSize, Count
from genmods.metrics.base import EvaluationData, Metric, MetricResult, MetricValue
from genmods.metrics.features import as_float
from genmods.models import Classifies
from genmods.models.diffusion_classifier import DiffusionClassifier


@dataclass
class Accuracy(Metric):
    """The share of test images whose most probable class is the true one.

    Args:
        images: The largest number of test images.
        num_times: Noise levels per class of a diffusion model.
        batch_size: Images per network call.
    """

    images: Annotated[int, Ge(2)] = 10000
    num_times: Count = 16
    batch_size: BatchSize = 100

    @property
    def least(self) -> dict[str, int]:
        return {"test": 2}

    def check_model(self, model: Any) -> None:
        self._classifier(model)

    def _classifier(self, model: Any) -> Any:
        return model if isinstance(model, Classifies) else DiffusionClassifier(model, self.num_times)

    def __call__(self, data: EvaluationData) -> MetricResult:
        from scipy.stats import binomtest

        model = self._classifier(data.model)
        labels, test = data.classes("test_labels")[: self.images], data.need("test")[: self.images]

        def predicted(images: Tensor, numbers: Tensor) -> Tensor:
            return model.probabilities(as_float(images, data.levels).to(model.device)).argmax(1).cpu()

        name = f"classes-{self.num_times}"
        right = data.computed(name, test, self.batch_size, predicted) == labels
        interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        note = f"{len(right)} test images"
        return MetricResult(
            [MetricValue("accuracy", float(right.double().mean()), interval.low, interval.high, note=note)]
        )
