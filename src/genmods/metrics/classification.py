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
    def probabilities(self) -> Tensor:
        """Calibrated probabilities [N, K]."""
        return (self.scores / self.temperature).softmax(-1)
