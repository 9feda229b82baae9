"""Calibration of classifiers: reliability and expected calibration error.

Predictions are binned by their confidence, the largest probability. The expected calibration error (ECE) is the mean
difference between confidence and accuracy, sum_b n_b / N |acc_b - conf_b| (Naeini et al., 2015).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genmods.core.errors import UserError


class Reliability(NamedTuple):
    """Predictions by confidence: `edges` [bins + 1]; per bin mean `confidence`, `accuracy` and count `total` [bins].

    Confidence and accuracy are 0 in an empty bin.
    """

    edges: Tensor
    confidence: Tensor
    accuracy: Tensor
    total: Tensor

    @property
    def ece(self) -> float:
        """The expected calibration error, in [0, 1]."""
        gap = (self.accuracy - self.confidence).abs()
        return float((gap * self.total).sum() / self.total.sum())


def reliability(probabilities: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Accuracy by confidence of `probabilities` [N, K] for `labels` int64 [N], in equal bins (lower, upper] of [0, 1].

    Raises UserError if there are no predictions or if some are not finite.
    """
    probabilities = probabilities.cpu().double()
    if len(probabilities) == 0 or not probabilities.isfinite().all():
        raise UserError("calibration requires at least one prediction, all finite")
    confidence, predicted = probabilities.max(1)
    correct = (predicted == labels.cpu()).double()
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    index = torch.bucketize(confidence, edges[1:-1])
    total = torch.bincount(index, minlength=bins)

    def mean(values: Tensor) -> Tensor:
        return torch.zeros(bins, dtype=torch.float64).index_add_(0, index, values) / total.clamp_min(1)

    return Reliability(edges, mean(confidence), mean(correct), total)


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The expected calibration error of `probabilities` [N, K] for `labels` int64 [N]; see `reliability`."""
    return reliability(probabilities, labels, bins).ece
