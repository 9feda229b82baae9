"""The predictions of all samples of an evaluation, over all ranks."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Collected(Metric):
    """Collects predictions, labels and sample numbers of all ranks, sorted by sample number."""

    predictions: list[Tensor]
    labels: list[Tensor]
    index: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("predictions", "labels", "index"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, labels: Tensor, index: Tensor) -> None:
        """Adds a batch: predictions [B, K], labels int64 [B] or float [B, K] and the samples' numbers `index` [B]."""
        self.predictions.append(predictions)
        self.labels.append(labels)
        self.index.append(index)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions [N, K], labels [N] or [N, K] and index [N], ascending, on the CPU."""
        predictions, labels, index = (
            dim_zero_cat(state).cpu() for state in (self.predictions, self.labels, self.index)
        )
        order = index.argsort()
        return predictions[order], labels[order], index[order]

    def take(self) -> tuple[Tensor, Tensor, Tensor]:
        """All predictions [N, K], labels [N] or [N, K] and indices [N]; resets the collection.

        Unlike `compute`, whose one-element tensors torchmetrics converts to scalars, it keeps the shapes.
        """
        predictions, labels, index = self.compute()
        self.reset()
        n = index.numel()
        return (
            predictions.view(n, -1),
            labels.view(n, -1) if labels.is_floating_point() else labels.view(n),
            index.view(n),
        )
