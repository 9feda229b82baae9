from dataclasses import fields

import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.diffusion.grids import UniformGrid
from genmods.diffusion.noise import noise_stream
from genmods.diffusion.processes import CosineProcess, EDMProcess, LinearProcess, RectifiedProcess
from genmods.diffusion.samplers import DDIMSampler
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.methods import Ancestral, Guidance, Measurement
from genmods.restoration.methods.ddnm import DDNM
from genmods.restoration.methods.ddnm_plus import DDNMPlus
from genmods.restoration.methods.diffpir import DiffPIR
from genmods.restoration.methods.mmps import MMPS, update
from genmods.restoration.methods.pigdm import PiGDM
from genmods.restoration.methods.repaint import RePaint
from genmods.restoration.methods.replacement import Replacement
from genmods.restoration.operators import Average, BoxMask, GaussianBlur, Identity, Mask
from support.gaussians import ar1, divergence, law

FIRST = Mask(torch.tensor([[True, False]]))


def registered():
    for name, path in BUILTINS["method"].items():
        yield pytest.param(imported(path), id=name)


def pair_law(name):
    """(slope, cov) of x ~ N(slope y, cov), by the recursion of each method's step in plain matrices.

    With x0 = G x_t, G = α C (α² C + σ²)⁻¹, for the prior's denoiser and x0 = H x_t + k y for the guided one, e the
    known pixel, D = 1 - e eᵀ the other, and DDPM's ᾱ and β̃ of 1,000 levels, an ancestral step is

        x_s = √ᾱ_s x0 + √(σ_s² - β̃) ε + √β̃ z,    ε = (x_t - α x0)/σ with x0 from G (DDNM) or from H (ΠGDM);

    replacement takes it, unguided, from D x_t + e (α y + σ z).
    """
    c, one = ar1(2, 0.9).cov, torch.eye(2, dtype=torch.float64)
    e, d = one[0], torch.diag(one[1])
    slope, cov = torch.zeros(2, dtype=torch.float64), one
    bars = [1.0, *(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0).tolist()]
    for bar, before in zip(bars[:0:-1], bars[-2::-1], strict=True):
        alpha, s2, ahead = bar**0.5, 1 - bar, before**0.5
        fresh = (1 - bar / before) * (1 - before) / s2
        keep = (1 - before - fresh) ** 0.5 / s2**0.5
        g = alpha * c @ torch.linalg.inv(alpha**2 * c + s2 * one)
        h, k, of_eps, noise = g, 0 * e, g, fresh**0.5 * one
        if name == "ddnm":
            h, k = d @ g, e
        elif name == "pigdm":  # V e/r² with V = σ²/α G, r² = σ²
            k = g @ e / alpha
            h = of_eps = g - torch.outer(k, e @ g)
        step = ahead * h + keep * (one - alpha * of_eps)
        shift = ahead * k - (keep * alpha * k if name == "pigdm" else 0)
        if name == "replacement":
            noise = noise + step @ torch.outer(e, e) * s2**0.5
            step, shift = step @ d, step @ e * alpha
        slope, cov = step @ slope + shift, step @ cov @ step.T + noise @ noise.T
    return slope, cov


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (Replacement(steps=1000), "replacement"),
        (DDNM(steps=1000), "ddnm"),
        (DDNMPlus(steps=1000), "ddnm"),
        (PiGDM(sampler=DDIMSampler(steps=1000, eta=1.0)), "pigdm"),
    ],
    ids=["replacement", "ddnm", "ddnm_plus", "pigdm"],
)
def test_a_correlated_pair_of_pixels(method, name):
    """One pixel known, correlation 0.9 (the exact posterior of the other has slope 0.9 and variance 0.19)."""
    slope, cov = law(method, ar1(2, 0.9), LinearProcess(steps=1000), FIRST)
    expected = pair_law(name)
    torch.testing.assert_close(slope[:, 0], expected[0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(cov, expected[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("process", [LinearProcess(steps=100), CosineProcess(), RectifiedProcess(), EDMProcess()])
def test_guidance_by_the_exact_covariance_is_exact(process):
    """ΠGDM for an isotropic prior and MMPS for any Gaussian one give the posterior's own denoiser."""
    x = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    isotropic = Gaussian(torch.full((1, 6, 6), 0.2, dtype=torch.float64), 0.6**2 * torch.eye(36, dtype=torch.float64))
    root = torch.randn(36, 36, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 6
    full = Gaussian(torch.full((1, 6, 6), 0.2, dtype=torch.float64), root @ root.T + 0.1 * torch.eye(36))
    for operator, sigma_y in ((BoxMask(), 0.0), (BoxMask(), 0.3), (Average(2), 0.1), (GaussianBlur(0.8), 0.2)):
        for prior, method in ((isotropic, PiGDM(prior_std=0.6)), (full, MMPS(iterations=80))):
            y = operator(torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
            guided = method.guide(prior.denoise(process), Measurement(operator, y, sigma_y))
            exact = prior.posterior(operator, y, sigma_y).denoise(process)
            for u in (0.1, 0.5, 0.9):
                t = torch.tensor(
                    [process.t_min_trained + u * (process.t_max - process.t_min_trained)], dtype=torch.float64
                )
                x_t = process.diffuse(x, x.flip(-1), t)
                assert torch.allclose(guided(x_t, t).x0, exact(x_t, t).x0, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sigma_y", [0.1, 0.3, 0.6])
def test_noisy_measurements(sigma_y):
    """KL per pixel from the exact posterior on an AR(1) row with a hole and noise, 100 steps."""
    prior = ar1(16, 0.9)
    known = torch.ones(1, 16, dtype=torch.bool)
    known[:, 5:11] = False
    limits = {DDNMPlus: 0.03, PiGDM: 0.04, MMPS: 0.015}
    for make, limit in limits.items():
        method = make(steps=100, iterations=4) if make is MMPS else make(steps=100)
        slope, cov = law(method, prior, CosineProcess(), Mask(known), sigma_y)
        assert divergence(prior, slope, cov, Mask(known), sigma_y) < limit


@pytest.mark.parametrize(("steps", "tolerance"), [(20, 0.12), (100, 0.015)])
def test_draws_spread_as_the_posterior_does(steps, tolerance):
    """The variance in a hole, over the true one: by the second-order solver of the reverse SDE, and by ancestral steps,
    which leave out that x0 is uncertain."""
    prior, process = ar1(16, 0.9), CosineProcess()
    known = torch.ones(1, 16, dtype=torch.bool)
    known[:, 5:11] = False
    hole, operator = ~known[0], Mask(known)
    exact = (prior.cov - prior.gain(operator, 0.0) @ prior.matrix(operator) @ prior.cov)[hole][:, hole].trace()

    def ratio(method):
        return (law(method, prior, process, operator)[1][hole][:, hole].trace() / exact).item()

    assert ratio(MMPS(steps=steps, iterations=16)) == pytest.approx(1, abs=tolerance)
    assert ratio(MMPS(iterations=16, sampler=DDIMSampler(steps=steps, eta=1.0))) < 1 - 1.5 * tolerance


def test_repaint_comes_closer_than_replacement():
    process, prior = LinearProcess(steps=1000), ar1(2, 0.9)
    slope, cov = law(RePaint(steps=1000, resamples=10), prior, process, FIRST)
    assert abs(slope[1, 0] - 0.9) < 0.03 and abs(cov[1, 1] - 0.19) < 0.05  # replacement: 0.274 and 0.118


def test_repaint_counts_network_calls():
    times = RePaint(steps=20, resamples=4).time_grid(CosineProcess())
    assert (times.diff() < 0).sum() == 20 and (times.diff() > 0).sum() == 15
    assert times[0] == CosineProcess().t_max and times[-1] == CosineProcess().t_min
    with pytest.raises(ValueError, match="multiple"):
        RePaint(steps=20, resamples=3)


@pytest.mark.parametrize("make", registered())
@pytest.mark.parametrize(
    "process", [CosineProcess(), EDMProcess(), RectifiedProcess()], ids=["cosine", "edm", "rectified"]
)
def test_every_method_pulls_towards_the_measurement(make, process):
    """On white Gaussian data the known pixels end up at the measurement, independently per image, in any batch."""
    prior = Gaussian(torch.zeros(1, 4, 4, dtype=torch.float64), 0.25 * torch.eye(16, dtype=torch.float64))
    truth = 0.5 * torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    operator, method = BoxMask(), make(steps=100)
    denoise = prior.denoise(process)

    def run(rows):
        noise = noise_stream(1, rows, (1, 4, 4), dtype=torch.float64)
        return method.sample(denoise, Measurement(operator, operator(truth[rows]), 0.0), noise)

    whole = run(torch.arange(3))
    assert whole.isfinite().all()
    seen = operator(torch.ones_like(whole)) > 0
    assert (whole - truth)[seen].square().mean() < 0.3 * (whole - truth)[~seen].square().mean()
    assert torch.allclose(whole[2:], run(torch.tensor([2])), atol=1e-10)


def test_diffpir_without_noise_projects():
    prior = ar1(4, 0.5)
    process = CosineProcess()
    y = torch.tensor([[[[0.3, 0.0, -0.2, 0.0]]]], dtype=torch.float64)
    operator = Mask(torch.tensor([[True, False, True, False]]))
    noise = noise_stream(0, torch.arange(1), (1, 1, 4), dtype=torch.float64)
    x = DiffPIR().sample(prior.denoise(process), Measurement(operator, y), noise)
    assert torch.allclose(operator(x), y, atol=1e-10)


def test_the_share_of_fresh_noise_is_a_share():
    with pytest.raises(ValueError, match="zeta must be at most 1, got 2"):
        DiffPIR(zeta=2.0)


def test_no_setting_is_without_effect():
    """Proximal steps take no `eta`, and a grid beside a sampler would not be used."""
    assert "eta" not in {one.name for one in fields(DiffPIR)}
    with pytest.raises(ValueError, match="grid must be set on the sampler"):
        PiGDM(grid=UniformGrid(), sampler=DDIMSampler())


def test_conjugate_gradients_solve_rows_apart_and_stop_on_a_zero_row():
    root = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cov = root @ root.T + torch.eye(5)
    b = torch.randn(3, 1, 1, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    b[1] = 0
    exact = b @ torch.linalg.inv(cov + 0.3 * torch.eye(5)) @ cov
    assert torch.allclose(update(lambda v: v @ cov, Identity(), 0.3, b, 20), exact, atol=1e-10)


@pytest.mark.parametrize("method", [Guidance(steps=1000), Ancestral(steps=1000)], ids=["guidance", "ancestral"])
def test_the_unguided_draw_from_the_prior(method):
    slope, cov = law(method, ar1(2, 0.9), LinearProcess(steps=1000), Identity())
    assert slope.abs().max() == 0
    assert torch.allclose(cov, ar1(2, 0.9).cov, atol=0.01)
