"""Nearest neighbours: memorisation of training images, and class separation of embeddings.

A sample is suspected to be a copy if it is closer to its nearest training image than almost all unseen test images are
to theirs: `memorized` is the fraction of samples below the 1st percentile of the test images' distances, about 0.01 for
a model that does not memorise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from genmods.core.devices import to_float64
from genmods.core.errors import UserError
from genmods.core.settings import Count
from genmods.metrics.base import EvaluationData, Metric, MetricResult, MetricValue


def distances(queries: Tensor, points: Tensor) -> Tensor:
    """Euclidean distances [N, M] of `queries` [N, D] and `points` [M, D], centred first for accuracy in float32."""
    center = points.mean(dim=0)
    return torch.cdist(queries - center, points - center)


def nearest(queries: Tensor, points: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """Ascending distances [N, k] and indices [N, k] of the `k` nearest `points` [M, D] for each of `queries` [N, D]."""
    if not 1 <= k <= len(points):
        raise ValueError(f"k must be between 1 and the number of points {len(points)}, got {k}")
    found = [distances(part, points).topk(k, largest=False) for part in queries.split(500)]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


@dataclass
class NearestImages(Metric):
    """The fraction of memorised samples by pixel distance, and a picture of the `shown` most suspicious ones.

    Each row of the picture is a sample followed by its `k` nearest training images, whose files are in the table.
    """

    shown: Count = 8
    k: Count = 4
    threshold: Annotated[float, Gt(0), Lt(1)] = 0.01

    @property
    def least(self) -> dict[str, int]:
        return {"samples": 1, "train": 1, "test": 1}

    def __call__(self, data: EvaluationData) -> MetricResult:
        train, samples = data.images("train"), data.samples
        points = train.flatten(1)
        distance, index = nearest(samples.flatten(1), points, min(self.k, len(points)))
        test = data.images("test")[: data.n].flatten(1)
        honest = nearest(test, points)[0][:, 0]
        memorized = float(to_float64(distance[:, 0] < honest.quantile(self.threshold)).mean())
        order = distance[:, 0].argsort()[: self.shown]
        picture = torch.cat([torch.cat([samples[i : i + 1], train[index[i]]]) for i in order.tolist()])
        ratio = float(distance[:, 0].median() / honest.median().clamp(min=1e-12))
        figures = [
            MetricValue("memorized", memorized, held_out=self.threshold),
            MetricValue(
                "nearest_ratio",
                ratio,
                held_out=1.0,
                note="median distance to training images, relative to test images",
            ),
        ]
        names = data.train_names or [str(i) for i in range(len(train))]
        rows = [
            [i, *(cell for d, j in zip(distance[i].tolist(), index[i].tolist(), strict=True) for cell in (names[j], d))]
            for i in order.tolist()
        ]
        columns = ["sample", *(f"{what} {k + 1}" for k in range(index.shape[1]) for what in ("image", "distance"))]
        return MetricResult(figures, {"nearest": picture}, {"nearest": (columns, rows)})


def knn_accuracy(train: Tensor, labels: Tensor, test: Tensor, answers: Tensor, k: int = 20) -> float:
    """Accuracy of a k-nearest-neighbour classifier with cosine similarity; ties go to the lower class index.

    Args:
        train: Features of the training images [N, D].
        labels: Their labels, int64 [N].
        test: Features of the test images [M, D].
        answers: Their labels, int64 [M].
        k: Number of neighbours.
    """
    unit_train, unit_test = (torch.nn.functional.normalize(x.float(), dim=1) for x in (train, test))
    index = nearest(unit_test, unit_train, min(k, len(train)))[1]
    votes = torch.nn.functional.one_hot(labels[index], int(labels.max()) + 1).sum(dim=1)
    return float(to_float64(votes.argmax(dim=1) == answers).mean())


@dataclass
class NearestNeighbors(Metric):
    """Accuracy on the test images of a `k`-nearest-neighbour classifier in feature space."""

    k: Count = 20

    def __call__(self, data: EvaluationData) -> MetricResult:
        labels, answers = data.classes("train_labels"), data.classes("test_labels")
        accuracy = knn_accuracy(data.train_features, labels, data.test_features, answers, self.k)
        return MetricResult([MetricValue("knn_acc", accuracy, note=f"{self.k} neighbours")])


def purity(assigned: Tensor, labels: Tensor) -> float:
    """Fraction of points whose class (`labels`) is the most common in their cluster (`assigned`), both int64 [N]."""
    table = torch.zeros(int(assigned.max()) + 1, int(labels.max()) + 1, dtype=torch.int64)
    table.index_put_((assigned, labels), torch.ones_like(labels), accumulate=True)
    return float(table.max(dim=1).values.sum()) / len(labels)


@dataclass
class Clustering(Metric):
    """k-means clusters of the test images' features against their classes: NMI, adjusted Rand index, purity."""

    clusters: Count | None = None

    def __call__(self, data: EvaluationData) -> MetricResult:
        from sklearn.cluster import KMeans
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

        labels = data.classes("test_labels")
        clusters = self.clusters or int(labels.max()) + 1
        if clusters > len(labels):
            raise UserError(f"{clusters} clusters require at least {clusters} test images, got {len(labels)}")
        fit = KMeans(clusters, n_init=4, random_state=data.seed).fit(data.test_features.numpy())
        assigned = torch.from_numpy(fit.labels_).long()
        return MetricResult(
            [
                MetricValue("cluster_nmi", float(normalized_mutual_info_score(labels, assigned))),
                MetricValue("cluster_ari", float(adjusted_rand_score(labels, assigned))),
                MetricValue("cluster_purity", purity(assigned, labels)),
            ]
        )
