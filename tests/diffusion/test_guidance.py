"""Guidance: its convention for w, exactness on Gaussians, intervals and thresholds."""

import pytest
import torch
from torch import nn

from genmods.diffusion import (
    Autoguidance,
    ClassifierFree,
    ClassifierGuidance,
    CleanClassifier,
    EDMProcess,
    Estimate,
    Extrapolation,
    Interval,
    LinearProcess,
    RectifiedProcess,
    Threshold,
)
from support.oracles import Gaussian, Oracle

X = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
T = torch.tensor([0.1, 0.4, 0.7, 1.0], dtype=torch.float64)


class Never(Oracle):
    def __call__(self, x, t):
        raise AssertionError("asked although its weight is 0")


@pytest.mark.parametrize("guidance", [Extrapolation, ClassifierFree, Autoguidance])
def test_weight_1_means_no_guidance(guidance):
    better, worse = Gaussian(LinearProcess(), 0.3), Gaussian(LinearProcess(), 2.0)
    torch.testing.assert_close(guidance(better, Never(LinearProcess()), 1.0)(X, T).x0, better(X, T).x0)
    torch.testing.assert_close(guidance(better, worse, 0.0)(X, T).x0, worse(X, T).x0)
    found, b, w = guidance(better, worse, 3.0)(X, T), better(X, T), worse(X, T)
    torch.testing.assert_close(found.x0, w.x0 + 3 * (b.x0 - w.x0))
    torch.testing.assert_close(found.eps, w.eps + 3 * (b.eps - w.eps))


def test_interval_of_noise_levels():
    process = EDMProcess()
    guided, plain, never = Gaussian(process, 0.3), Gaussian(process, 2.0), Never(process)
    found = Interval(guided, plain, 0.2, 0.8)(X, T)
    want = torch.cat([plain(X, T).x0[:1], guided(X, T).x0[1:3], plain(X, T).x0[3:]])
    torch.testing.assert_close(found.x0, want)
    torch.testing.assert_close(Interval(never, plain, 2.0, 3.0)(X, T).x0, plain(X, T).x0)
    torch.testing.assert_close(Interval(guided, never, 0.0, 3.0)(X, T).x0, guided(X, T).x0)


@pytest.mark.parametrize("process", [LinearProcess(), EDMProcess(), RectifiedProcess()], ids=lambda p: type(p).__name__)
def test_classifier_guidance_is_bayes(process):
    """x0 ~ N(0, 1) seen as y = x0 + n, n ~ N(0, r²): guided with ln p(y | x_t), it is the posterior's denoiser."""
    r2, y = 0.5, torch.tensor([[0.8, -0.3]], dtype=torch.float64)
    prior = Gaussian(process, 1.0)

    def log_prob(x, t):
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        variance = sigma**2 / (alpha**2 + sigma**2) + r2
        return (-((y - prior(x, t).x0) ** 2) / (2 * variance)).sum(1)

    found = ClassifierGuidance(prior, log_prob, 1.0)(X, T)
    alpha, sigma = process.alpha(T)[:, None], process.sigma(T)[:, None]
    mean, variance = y / (1 + r2), r2 / (1 + r2)
    want = mean + alpha * variance / (alpha**2 * variance + sigma**2) * (X - alpha * mean)
    regular = alpha[:, 0] > 0
    torch.testing.assert_close(found.x0[regular], want[regular])
    assert found.x0.isfinite().all()
    torch.testing.assert_close(alpha * found.x0 + sigma * found.eps, X)
    torch.testing.assert_close(ClassifierGuidance(prior, log_prob, 0.0)(X, T).x0, prior(X, T).x0)


def test_clean_classifier_pulls_towards_its_label():
    process = LinearProcess()
    prior, classifier = Gaussian(process, 1.0), nn.Linear(2, 3).double()
    labels = torch.tensor([0, 1, 2, 0])
    log_prob = CleanClassifier(prior, classifier, labels)
    with torch.no_grad():
        guided = ClassifierGuidance(prior, log_prob, 1.0)(X, T)
        plain = prior(X, T)
    gain = [classifier(e.x0).log_softmax(1).gather(1, labels[:, None]).sum() for e in (guided, plain)]
    assert gain[0] > gain[1] and not guided.x0.requires_grad
    with pytest.raises(ValueError, match="labels must lie in"):
        CleanClassifier(prior, classifier, labels + 1)(X, T)


def test_threshold():
    process, t = LinearProcess(), torch.full((2,), 0.5, dtype=torch.float64)
    alpha, sigma = process.alpha(t[:1]), process.sigma(t[:1])
    x0 = torch.stack([torch.linspace(-3, 3, 101), torch.linspace(-0.5, 0.5, 101)]).double()
    x_t = torch.randn(2, 101, dtype=torch.float64)

    class Fixed(Oracle):
        def __call__(self, x, t):
            return Estimate(x0, (x - alpha * x0) / sigma)

    clipped = Threshold(Fixed(process), None)(x_t, t)
    torch.testing.assert_close(clipped.x0, x0.clamp(-1, 1))
    dynamic = Threshold(Fixed(process), 0.5)(x_t, t)
    extent = torch.quantile(x0[0].abs(), 0.5)
    torch.testing.assert_close(dynamic.x0[0], x0[0].clamp(-extent, extent) / extent, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(dynamic.x0[1], x0[1])
    for estimate in (clipped, dynamic):
        torch.testing.assert_close(alpha * estimate.x0 + sigma * estimate.eps, x_t)


def test_mistakes():
    plain = Gaussian(LinearProcess())
    for make in (lambda: Interval(plain, plain, 1.0, 0.5), lambda: Threshold(plain, 1.5)):
        with pytest.raises(ValueError, match=r"(hi|quantile) must be"):
            make()
