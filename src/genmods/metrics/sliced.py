"""Monge inception distance (MIND): the sliced Wasserstein distance of features (Berthet et al. 2026).

On each of many random lines the optimal transport of the two sets of projections matches them in order. The mean of
the squared distances over pairs and lines is multiplied by the dimension D, so that a shift of all features by m counts
|m|², as in FID. It needs no covariance, and is informative from about a thousand samples on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genmods.core.settings import Count
from genmods.metrics.base import EvaluationData, Metric, MetricResult, MetricValue, count_name

CHUNK = 64
"""Lines per matrix product."""


def sliced_distance(x: Tensor, y: Tensor, lines: int, generator: torch.Generator) -> float:
    """D times the mean over random lines of the squared 2-Wasserstein distance of the projections.

    Args:
        x: Features [N, D].
        y: Features [N, D], as many.
        lines: Number of lines, of uniform direction.
        generator: Draws the lines, on the CPU.

    Raises:
        ValueError: If the sets differ in size.
    """
    if x.shape != y.shape:
        raise ValueError(f"the sets must have the same size, got {list(x.shape)} and {list(y.shape)}")
    directions = torch.nn.functional.normalize(torch.randn(lines, x.shape[1], generator=generator), dim=1)
    centre, total = y.mean(dim=0), 0.0
    for part in directions.to(x).split(CHUNK):
        gaps = ((x - centre) @ part.T).sort(dim=0).values - ((y - centre) @ part.T).sort(dim=0).values
        total += float(gaps.double().square().mean(dim=0).sum())
    return x.shape[1] * total / lines


@dataclass
class MongeDistance(Metric):
    """MIND of the samples against as many training images, on `lines` random lines.

    `held_out` is that of the test images, against as many training images.
    """

    lines: Count = 1000

    @property
    def least(self) -> dict[str, int]:
        return dict.fromkeys(("samples", "train", "test"), 2)

    def __call__(self, data: EvaluationData) -> MetricResult:
        fake, test = data.sample_features, data.held_out_features
        held_out = None if test is None else self._between(data, test)
        note = f"features {data.extractor.name}"
        name = f"mind_{count_name(len(fake))}"
        return MetricResult([MetricValue(name, self._between(data, fake), held_out=held_out, note=note)])

    def _between(self, data: EvaluationData, features: Tensor) -> float:
        """The distance of features [N, D] to those of random training images; of both the smaller number."""
        generator = data.generator()
        real = data.train_features[torch.randperm(len(data.train_features), generator=generator)]
        count = min(len(features), len(real))
        return sliced_distance(features[:count], real[:count], self.lines, generator)
