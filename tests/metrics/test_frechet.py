"""Fréchet and kernel distances against closed forms."""

import math

import pytest
import torch
from torchmetrics.image.fid import _compute_fid

from genmods.metrics.base import EvaluationData
from genmods.metrics.features import pixel_features
from genmods.metrics.frechet import FrechetDistance, KernelDistance, frechet_distance, frechet_limit, kernel_distance
from genmods.metrics.statistics import GaussianStatistics, cached_statistics, gaussian_statistics


def random_covariance(d, generator):
    a = torch.randn(d, 2 * d, generator=generator, dtype=torch.float64)
    return a @ a.T / (2 * d)


def test_diagonal_gaussians_have_a_closed_form():
    m1, m2 = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([0.5, 1.0, 1.0]).double()
    s1, s2 = torch.tensor([1.0, 2.0, 0.3]).double(), torch.tensor([2.0, 0.1, 0.3]).double()
    first, second = GaussianStatistics(9, m1, s1.square().diag()), GaussianStatistics(9, m2, s2.square().diag())
    expected = float((m1 - m2).square().sum() + (s1 - s2).square().sum())
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)


def test_rotation_leaves_the_distance():
    g = torch.Generator().manual_seed(0)
    c1, c2 = random_covariance(6, g), random_covariance(6, g)
    q = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q
    zero = torch.zeros(6).double()
    plain = frechet_distance(GaussianStatistics(9, zero, c1), GaussianStatistics(9, zero, c2))
    turned = frechet_distance(GaussianStatistics(9, zero, q @ c1 @ q.T), GaussianStatistics(9, zero, q @ c2 @ q.T))
    assert turned == pytest.approx(plain, rel=1e-10)


def test_agrees_with_torchmetrics():
    g = torch.Generator().manual_seed(1)
    first, second = (gaussian_statistics(torch.randn(50, 8, generator=g) + i) for i in range(2))
    theirs = float(_compute_fid(first.mean, first.covariance, second.mean, second.covariance))
    assert frechet_distance(first, second) == pytest.approx(theirs, rel=1e-9)


def test_singular_covariances_stay_finite():
    g = torch.Generator().manual_seed(2)
    for _ in range(10):
        few = gaussian_statistics(torch.randn(5, 32, generator=g))
        assert 0 <= frechet_distance(few, few) < 1e-6


def test_null_distance_of_whitened_features():
    d, n = 64, 10_000
    g = torch.Generator().manual_seed(3)
    first, second = (gaussian_statistics(torch.randn(n, d, generator=g)) for _ in range(2))
    expected = (d + d * (d + 1) / 4) * (2 / n)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=0.05)


def test_the_limit_of_many_samples_is_the_distance():
    """FD∞ of 400 samples is the distance of the Gaussians, on average over worlds; FID_400 is 0.3 above it."""
    g, d = torch.Generator().manual_seed(5), 8
    reference = GaussianStatistics(9, torch.zeros(d).double(), torch.eye(d).double())
    true = d * (0.2**2 + 0.3**2)
    worlds = [0.2 + 1.3 * torch.randn(400, d, generator=g, dtype=torch.float64) for _ in range(30)]
    limits = torch.tensor([frechet_limit(features, reference, 15, g) for features in worlds])
    finite = torch.tensor([frechet_distance(gaussian_statistics(features), reference) for features in worlds])
    assert abs(limits.mean() - true) < 4 * limits.std() / len(worlds) ** 0.5
    assert finite.mean() - true > 6 * finite.std() / len(worlds) ** 0.5
    with pytest.raises(ValueError, match="8 features require at least 18 samples, got 17"):
        frechet_limit(worlds[0][:17], reference, 15, g)


def direct_kernel_distance(x, y):
    d = x.shape[1]
    kxx, kyy, kxy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    within = (kxx.sum() - kxx.trace()) / (n * (n - 1)) + (kyy.sum() - kyy.trace()) / (m * (m - 1))
    return float(within - 2 * kxy.mean())


def test_kernel_distance_is_the_sum_over_pairs():
    g = torch.Generator().manual_seed(4)
    x, y = torch.randn(7, 3, generator=g).double(), torch.randn(5, 3, generator=g).double() + 1
    assert kernel_distance(x, y) == pytest.approx(direct_kernel_distance(x, y), rel=1e-12)


def test_kernel_distance_is_unbiased():
    g = torch.Generator().manual_seed(5)
    drawn = torch.tensor(
        [kernel_distance(torch.randn(20, 4, generator=g), torch.randn(20, 4, generator=g)) for _ in range(400)]
    )
    assert abs(float(drawn.mean())) < 4 * float(drawn.std()) / 20
    assert (drawn < 0).any()


def test_evaluation_has_name_interval_and_floor():
    g = torch.Generator().manual_seed(6)
    train, test = torch.rand(600, 1, 3, 3, generator=g) * 2 - 1, torch.rand(300, 1, 3, 3, generator=g) * 2 - 1
    evidence = EvaluationData(
        train=train,
        test=test,
        generate=lambda n: torch.rand(n, 1, 3, 3, generator=g) * 2 - 1,
        features=pixel_features(),
        n=500,
    )
    for metric, name in ((FrechetDistance(), "fid_500"), (KernelDistance(), "kid_500")):
        (figure,) = metric(evidence).values
        assert figure.name == name
        assert figure.low <= figure.value <= figure.high
        assert figure.held_out is not None


@pytest.mark.parametrize(
    ("metric", "worlds", "least"), [(FrechetDistance(), 200, 0.925), (KernelDistance(references=200), 60, 0.88)]
)
def test_the_interval_covers_the_expected_figure_in_95_percent_of_worlds(metric, worlds, least):
    """300 samples of N(0.15, I) against N(0, I) in 4 dimensions; the share's standard error is 1.5 to 3 %."""
    g = torch.Generator().manual_seed(8)
    real, found = torch.randn(1000, 1, 2, 2, generator=g), []
    reference = gaussian_statistics(real.flatten(1))
    for world in range(worlds):
        samples = torch.randn(300, 1, 2, 2, generator=g) + 0.15
        data = EvaluationData(train=real, generate=lambda n, s=samples: s, features=pixel_features(), n=300, seed=world)
        data.__dict__["reference"] = reference
        found += metric(data).values
    expected = sum(value.value for value in found) / worlds
    covered = sum(value.low <= expected <= value.high for value in found) / worlds
    assert least <= covered <= 0.985


@pytest.mark.parametrize(("n", "blocks"), [(10, 10), (40, 1)])
def test_without_two_parts_a_kernel_distance_has_no_interval(n, blocks):
    images = torch.rand(2 * n, 1, 3, 3, generator=torch.Generator().manual_seed(7)) * 2 - 1
    evidence = EvaluationData(
        train=images[n:], test=None, generate=lambda _: images[:n], features=pixel_features(), n=n
    )
    (figure,) = KernelDistance(blocks=blocks)(evidence).values
    assert math.isfinite(figure.value) and figure.low is figure.high is None


def test_reference_statistics_are_read_from_the_cache(tmp_path):
    images = torch.randint(0, 256, (20, 1, 2, 2), dtype=torch.uint8)
    features = images.flatten(1).float()
    first = cached_statistics(tmp_path, "pixels", images, lambda: features)

    def never():
        raise AssertionError("the cache was not used")

    again = cached_statistics(tmp_path, "pixels", images, never)
    assert torch.equal(first.mean, again.mean) and torch.equal(first.covariance, again.covariance)
    with pytest.raises(AssertionError):
        cached_statistics(tmp_path, "pixels", 255 - images, never)
