"""The result of evaluating a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Classification:
    """What a classifier answered for N images of K classes, on the CPU, in the order of the images.

    Attributes:
        class_names: The names of the classes.
        counts: Images by true class and answer, int64 [K, K].
        scores: Log-probabilities before the temperature, [N, K].
        labels: True classes, int64 [N].
        index: The numbers of the images in their split, int64 [N].
        temperature: What calibrates the scores.
    """

    class_names: list[str]
    counts: Tensor
    scores: Tensor
    labels: Tensor
    index: Tensor
    temperature: float

    @property
    def recall(self) -> Tensor:
        """The share of each class's images that are answered with it, [K]; NaN for a class without images."""
        return self._correct / self.counts.sum(1)

    @property
    def precision(self) -> Tensor:
        """The share of right ones among the answers with each class, [K]; NaN for a class that is never the answer."""
        return self._correct / self.counts.sum(0)

    @property
    def f1(self) -> Tensor:
        """The harmonic mean of precision and recall of each class, [K]; NaN for a class neither there nor answered."""
        return 2 * self._correct / (self.counts.sum(0) + self.counts.sum(1))

    def mistakes(self) -> list[int]:
        """The places of the wrong answers, the most certain first."""
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
