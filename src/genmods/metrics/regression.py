"""The result of evaluating a regression."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Regression:
    """Predictions of a regression for N images and K targets, on the CPU, in the order of the images.

    Attributes:
        class_names: The names of the targets.
        predictions: In the targets' units, [N, K].
        targets: The true numbers, [N, K].
        index: Indices of the images in their split, int64 [N].
    """

    class_names: list[str]
    predictions: Tensor
    targets: Tensor
    index: Tensor

    @property
    def mae(self) -> Tensor:
        """The mean absolute error of each target, [K]."""
        return (self.predictions - self.targets).abs().mean(0)

    @property
    def r2(self) -> Tensor:
        """1 - sum of squared errors / sum of squares about the mean of each target, [K]; NaN where all are equal."""
        targets = self.targets.double()
        total = (targets - targets.mean(0)).square().sum(0)
        error = (self.predictions.double() - targets).square().sum(0)
        constant = targets.amin(0) == targets.amax(0)
        return (1 - error / total).masked_fill(constant, math.nan)
