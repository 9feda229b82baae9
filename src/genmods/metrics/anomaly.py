"""Detection of images that are not like the training data: AUROC of an anomaly score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.settings import BatchSize, Count
from genmods.metrics.base import EvaluationData, Metric, MetricResult, MetricValue
from genmods.metrics.features import as_float
from genmods.models.anomaly import NoiseErrors, anomaly_scores

SHOWN = 10
"""Number of images in the picture: the most unusual of the test images and the least unusual of the others."""


def auroc(normal: Tensor, odd: Tensor) -> tuple[float, float]:
    """The area under the ROC curve, and its standard error.

    Args:
        normal: Scores [N] of normal images.
        odd: Scores [M] of other images.

    Returns:
        The probability that another image has the higher score (ties count half), and its standard error (DeLong et
        al. 1988).
    """
    above, below = _placements(odd, normal), 1 - _placements(normal, odd)
    variance = sum(float(part.var()) / len(part) for part in (above, below) if len(part) > 1)
    return float(above.mean()), variance**0.5


def _placements(scores: Tensor, others: Tensor) -> Tensor:
    """The share of `others` [M] below each of `scores` [N], float64."""
    ranked = others.sort().values
    low, high = (torch.searchsorted(ranked, scores, right=right).double() for right in (False, True))
    return (low + high) / (2 * len(others))


@dataclass
class Anomaly(Metric):
    """AUROC of the anomaly score of a diffusion model: test images against other images, see
    `genmods.models.anomaly`.

    Args:
        levels: Number of noise levels.
        draws: Noise draws per level.
        reference: Number of training images with which others are compared.
        images: The largest number of test images, and of other images.
        batch_size: Images per network call.
    """

    needs = ("others",)
    levels: Annotated[int, Ge(2), Le(100)] = 10
    draws: Count = 2
    reference: Annotated[int, Ge(3)] = 2000
    images: Annotated[int, Ge(2)] = 2000
    batch_size: BatchSize = 100

    @property
    def least(self) -> dict[str, int]:
        return {"train": self.levels + 1, "test": 2}

    def __call__(self, data: EvaluationData) -> MetricResult:
        if data.others is None:
            raise UserError("this metric requires other images: a folder, or the name of a data set")
        errors = NoiseErrors(data.model, self.levels, self.draws)
        train, test = data.need("train")[: self.reference], data.need("test")[: self.images]
        others = data.others[: self.images]

        def features(images: Tensor) -> Tensor:
            name = f"noise-errors-{self.levels}-{self.draws}"
            return data.computed(
                name, images, self.batch_size, lambda some, numbers: errors(as_float(some, data.levels), numbers)
            )

        reference = features(train)
        normal, odd = (anomaly_scores(features(images), reference) for images in (test, others))
        value, error = auroc(normal, odd)
        note = f"{len(test)} test images, {len(others)} other images"
        low, high = max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error)
        names = data.other_names or [str(i) for i in range(len(others))]
        rows = [[names[i], float(odd[i])] for i in odd.argsort(descending=True).tolist()]
        shown = torch.cat([test[normal.argsort(descending=True)[:SHOWN]], others[odd.argsort()[:SHOWN]]])
        return MetricResult(
            [MetricValue("anomaly_auroc", value, low, high, note=note)],
            pictures={"anomaly": as_float(shown, data.levels)},
            tables={"anomaly": (["image", "score"], rows)},
        )
