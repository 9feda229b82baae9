"""The result of evaluating a classifier of several labels per image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision


@dataclass(frozen=True)
class SeveralLabels:
    """Predictions of a multi-label classifier for N images and K labels, on the CPU, in the order of the images.

    Attributes:
        class_names: The names of the labels.
        probabilities: The probability of each label, [N, K].
        labels: Zeros and ones, [N, K].
        index: Indices of the images in their split, int64 [N].
    """

    class_names: list[str]
    probabilities: Tensor
    labels: Tensor
    index: Tensor

    @property
    def average_precision(self) -> Tensor:
        """Average precision [K]; NaN for a label that no image has."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No positive samples")
            found = multilabel_average_precision(
                self.probabilities, self.labels.long(), len(self.class_names), average="none"
            )
        return found.view(-1).masked_fill(self.labels.sum(0) == 0, float("nan"))

    def shares(self, threshold: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
        """Recall, precision and F1 [K] of the labels of at least `threshold`; NaN where nothing is counted."""
        predicted, true = self.probabilities >= threshold, self.labels > 0.5
        both, positives, there = (mask.sum(0).double() for mask in (predicted & true, predicted, true))
        return both / there, both / positives, 2 * both / (positives + there)
