"""The result of evaluating a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Classification:
    """Predictions of a classifier for N images of K classes, on the CPU, in the order of the images.

    Attributes:
        class_names: Names of the classes.
        counts: Confusion matrix, images by true and predicted class, int64 [K, K].
        scores: Log-probabilities before temperature scaling, [N, K].
        labels: True classes, int64 [N].
        index: Indices of the images in their split, int64 [N].
        temperature: Temperature that calibrates the scores.
    """

    class_names: list[str]
    counts: Tensor
    scores: Tensor
    labels: Tensor
    index: Tensor
    temperature: float

    @property
    def recall(self) -> Tensor:
        """Recall of each class, [K]; NaN for a class without images."""
        return self._correct / self.counts.sum(1)

    @property
    def precision(self) -> Tensor:
        """Precision of each class, [K]; NaN for a class that is never predicted."""
        return self._correct / self.counts.sum(0)

    @property
    def f1(self) -> Tensor:
        """F1 score of each class, [K]; NaN for a class that has no images and is never predicted."""
        return 2 * self._correct / (self.counts.sum(0) + self.counts.sum(1))

    def mistakes(self) -> list[int]:
        """Positions of the misclassified images, most confident first."""
        certainty, answer = self.probabilities.max(1)
        wrong = (answer != self.labels).nonzero()[:, 0]
        return wrong[certainty[wrong].argsort(descending=True, stable=True)].tolist()

    @property
    def _correct(self) -> Tensor:
        return self.counts.diag().double()

    @property
    def probabilities(self) -> Tensor:
        """Calibrated probabilities [N, K]."""
        return (self.scores / self.temperature).softmax(-1)
