"""Inception score, precision and recall, neighbours and clustering on sets with known answers."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genmods.core.errors import UserError
from genmods.metrics.base import EvaluationData, count_name, require_enough
from genmods.metrics.features import classifier_features, pixel_features, weights_hash
from genmods.metrics.frechet import FrechetDistance, KernelDistance
from genmods.metrics.neighbors import (
    Clustering,
    NearestImages,
    NearestNeighbors,
    distances,
    knn_accuracy,
    nearest,
    purity,
)
from genmods.metrics.scores import (
    BitsPerDimension,
    FlowBitsPerDimension,
    Precision,
    Recall,
    density_and_coverage,
    inception_score,
    neighbor_distance,
    share_inside,
)
from genmods.networks.base import Network


def test_inception_score_ends():
    assert inception_score(torch.eye(10).repeat(5, 1)) == pytest.approx(10)
    assert inception_score(torch.full((50, 10), 0.1)) == pytest.approx(1)


def test_neighbour_distance_on_a_line():
    points = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert neighbor_distance(points, 1).tolist() == [1, 1, 2, 4]
    assert neighbor_distance(points, 2).tolist() == [3, 2, 3, 6]
    with pytest.raises(ValueError, match="between 1 and"):
        neighbor_distance(points, 4)


def test_distances_far_from_the_origin():
    points = 1000 + torch.rand(200, 32, generator=torch.Generator().manual_seed(0))
    exact = torch.cdist(points.double(), points.double()).float()
    torch.testing.assert_close(distances(points, points), exact, rtol=1e-3, atol=5e-3)


def test_coverage_of_disjoint_and_equal_sets():
    g = torch.Generator().manual_seed(0)
    points = torch.randn(100, 4, generator=g)
    assert share_inside(points, points) == 1
    assert share_inside(points + 100, points) == 0


def test_density_and_coverage_of_one_distribution():
    """Their expectations hold for every distribution: 1 and 1 - (N-1) ... (N-k)/((M+N-1) ... (M+N-k))."""
    g, (n, m, k) = torch.Generator().manual_seed(0), (60, 45, 3)
    worlds = [[torch.randn(count, 5, generator=g) for count in (n, m)] for _ in range(300)]
    found = [density_and_coverage(*world, k) for world in worlds]
    density, coverage = torch.tensor(found, dtype=torch.float64).T
    missed = math.prod((n - i) / (m + n - i) for i in range(1, k + 1))
    for values, expected in ((density, 1), (coverage, 1 - missed)):
        assert abs(values.mean() - expected) < 4 * values.std() / len(values) ** 0.5


def test_density_and_coverage_by_neighbours_of_sklearn():
    from sklearn.neighbors import NearestNeighbors as Neighbors

    g = torch.Generator().manual_seed(1)
    real, fake = torch.randn(200, 4, generator=g), 0.6 * torch.randn(1100, 4, generator=g) + 0.5
    radius = Neighbors(n_neighbors=6).fit(real).kneighbors(real)[0][:, -1]
    tree = Neighbors().fit(fake)
    counts = [len(tree.radius_neighbors(x[None], r)[0][0]) for x, r in zip(real, radius, strict=True)]
    density, coverage = density_and_coverage(real, fake, 5)
    assert density == pytest.approx(sum(counts) / (5 * 1100))
    assert coverage == pytest.approx(np.mean(np.array(counts) > 0)) and 0.3 < coverage < 0.95


def mode_dropping_evidence():
    g = torch.Generator().manual_seed(1)
    real = torch.cat([torch.randn(200, 1, 1, 2, generator=g), torch.randn(200, 1, 1, 2, generator=g) + 50])
    return EvaluationData(
        train=real, generate=lambda n: torch.randn(n, 1, 1, 2, generator=g), features=pixel_features(), n=400
    )


def test_a_dropped_mode_costs_recall_not_precision():
    evidence = mode_dropping_evidence()
    (precision,), (recall,) = Precision()(evidence).values, Recall()(evidence).values
    assert precision.name == "precision_400" and precision.value > 0.8
    assert recall.value < 0.6


def test_nearest_neighbours_are_exact():
    g = torch.Generator().manual_seed(2)
    queries, points = torch.randn(501, 3, generator=g), torch.randn(40, 3, generator=g)
    distance, index = nearest(queries, points, k=3)
    direct = (queries[:, None] - points).square().sum(-1).sqrt()
    assert torch.allclose(distance, direct.sort(dim=1).values[:, :3], atol=1e-5)
    assert torch.equal(index[:, 0], direct.argmin(dim=1))


def images(n, seed):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_copies_are_found_and_honest_samples_are_not():
    train, test = images(300, 0), images(300, 1)
    copied = NearestImages(shown=3, k=2)(EvaluationData(train=train, test=test, generate=lambda n: train[:n], n=200))
    honest = NearestImages()(EvaluationData(train=train, test=test, generate=lambda n: images(n, 2), n=200))
    assert copied.values[0].value == 1
    assert honest.values[0].value < 0.06
    assert copied.pictures["nearest"].shape == (9, 1, 4, 4)
    assert torch.allclose(copied.pictures["nearest"][0], copied.pictures["nearest"][1])


def test_the_nearest_training_images_are_named():
    train, names = images(20, 0), [f"deep/{i}.png" for i in range(20)]
    data = EvaluationData(train=train, train_names=names, test=images(9, 1), generate=lambda n: train[[7, 3]], n=2)
    columns, rows = NearestImages(shown=2, k=2)(data).tables["nearest"]
    assert columns == ["sample", "image 1", "distance 1", "image 2", "distance 2"]
    assert sorted((row[0], row[1], round(row[2], 3)) for row in rows) == [(0, "deep/7.png", 0), (1, "deep/3.png", 0)]
    for _, *rest in rows:
        distances = (train - train[names.index(rest[0])]).flatten(1).norm(dim=1)
        assert names[distances.argsort()[1]] == rest[2] and distances.sort().values[1] == pytest.approx(rest[3])


@pytest.mark.parametrize(
    ("metric", "counts", "line"),
    [
        (Precision(), {"samples": 3}, "m requires at least 4 samples, got 3"),
        (Recall(k=5), {"samples": 9, "train": 5}, "m requires at least 6 train images, got 5"),
        (FrechetDistance(), {"samples": 9, "train": 9, "test": 1}, "m requires at least 2 test images, got 1"),
        (KernelDistance(), {"samples": 1}, "m requires at least 2 samples, got 1"),
        (BitsPerDimension(), {"test": 1}, "m requires at least 2 test images, got 1"),
    ],
)
def test_too_few_images_are_refused_and_enough_are_not(metric, counts, line):
    with pytest.raises(UserError) as refused:
        require_enough({"m": metric}, counts)
    assert str(refused.value) == line
    require_enough({"m": metric}, dict.fromkeys(counts, 6) | {"test": None})


def test_metrics_of_classes_refuse_several_labels():
    labels = torch.rand(9, 3).round()
    data = EvaluationData(train=images(9, 0), train_labels=labels, test=images(9, 1), test_labels=labels)
    for metric in (NearestNeighbors(), Clustering()):
        with pytest.raises(UserError, match="requires one class per image"):
            metric(data)
    few = EvaluationData(test=images(2, 1), test_labels=torch.tensor([0, 7]), features=pixel_features())
    with pytest.raises(UserError, match="8 clusters require at least 8 test images, got 2"):
        Clustering()(few)


def test_separated_classes_are_sorted_by_neighbours_and_clusters():
    g = torch.Generator().manual_seed(3)
    labels = torch.arange(90) % 3
    points = torch.nn.functional.one_hot(labels, 3).float() * 10 + torch.randn(90, 3, generator=g) * 0.1
    assert knn_accuracy(points, labels, points, labels, k=5) == 1
    evidence = EvaluationData(
        train=points.view(-1, 1, 1, 3),
        train_labels=labels,
        test=points.view(-1, 1, 1, 3),
        test_labels=labels,
        features=pixel_features(),
    )
    assert NearestNeighbors()(evidence).values[0].value == 1
    assert [figure.value for figure in Clustering()(evidence).values] == pytest.approx([1, 1, 1])


def test_purity_counts_the_majority():
    assert purity(torch.tensor([0, 0, 0, 1, 1]), torch.tensor([2, 2, 1, 0, 0])) == pytest.approx(4 / 5)


def test_bits_interval_over_images():
    test = torch.zeros(50, 1, 2, 2)
    likelihood = SimpleNamespace(bound=lambda x, i: i.double(), flow=lambda x, i: 2 * i.double())
    evidence = EvaluationData(test=test, likelihood=likelihood)
    (figure,) = BitsPerDimension(batch_size=7)(evidence).values
    assert figure.name == "bpd" and figure.value == pytest.approx(24.5)
    (flow,) = FlowBitsPerDimension(images=11)(evidence).values
    assert flow.name == "bpd_ode" and flow.value == pytest.approx(10)
    error = torch.arange(50).double().std().item() / 50**0.5
    assert figure.high - figure.value == pytest.approx(2.0096 * error, rel=1e-4)  # Student's t, 49 degrees of freedom


def test_missing_data_is_one_clear_line():
    for metric in (Precision(), NearestImages(), BitsPerDimension(), NearestNeighbors()):
        with pytest.raises(UserError, match="this metric requires"):
            metric(EvaluationData())


class Tiny(Network):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(4, 2)

    def features(self, x):
        return x.flatten(1)

    def forward(self, x):
        return self.head(self.features(x))


def test_the_name_of_features_pins_their_weights():
    network = Tiny()
    before = weights_hash(network)
    features = classifier_features(network)
    assert features.name == f"classifier-{before}"
    pixels = torch.tensor([[0, 255, 0, 255]], dtype=torch.uint8).view(1, 1, 2, 2)
    assert features(pixels).tolist() == [[-1, 1, -1, 1]]
    assert features.probabilities(pixels).sum() == pytest.approx(1)
    with torch.no_grad():
        network.head.bias += 1
    assert weights_hash(network) != before


def test_counts_in_names():
    assert [count_name(n) for n in (500, 2000, 2500, 10000)] == ["500", "2k", "2500", "10k"]
