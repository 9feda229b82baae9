"""Inversion by the probability flow and by DDIM against the closed form for Gaussian data: x √(V_T/V_0)."""

import pytest
import torch

from genmods.diffusion import (
    CosineProcess,
    EDMProcess,
    LearnedProcess,
    bound_bits_per_dim,
    bound_map,
    ddim_decode,
    ddim_invert,
    diffusion_nats,
    errors_by_level,
    flow_decode,
    flow_invert,
)
from genmods.diffusion.flow import flow_ends
from genmods.diffusion.process import per_sample
from support.oracles import Gaussian, Mixture, Oracle, processes

PROCESSES = processes()
each = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
C = 0.5
X = torch.tensor([[-0.8, 0.3], [0.1, -0.2], [0.6, 1.0]], dtype=torch.float64)


def latents(process, ends=None):
    """The exact latents of X for N(0, C²) under the flow between two times, by default those of `flow_invert`."""
    if ends is None:
        ends = process.time(torch.tensor(process.log_snr_range, dtype=torch.float64))
    alpha, sigma = process.alpha(ends).detach(), process.sigma(ends).detach()
    last, first = alpha**2 * C**2 + sigma**2
    return alpha[1] * X * (last / first).sqrt() / torch.hypot(alpha[0], sigma[0])


@each
def test_the_flow_has_the_closed_form_of_gaussian_data(process):
    process.requires_grad_(False)
    denoise, (steps, error) = Gaussian(process, C), (8, 0.05) if isinstance(process, LearnedProcess) else (48, 1e-3)
    found = flow_invert(denoise, X, steps)
    torch.testing.assert_close(found, latents(process), rtol=error, atol=1e-6)
    torch.testing.assert_close(flow_decode(denoise, found, steps), X, rtol=error, atol=1e-6)


def test_latents_of_a_mixture_are_inverted_by_the_flow():
    denoise, x = Mixture(EDMProcess()), Mixture(EDMProcess()).draw(8, seed=1)
    z = flow_invert(denoise, x, steps=256)
    torch.testing.assert_close(flow_decode(denoise, z, steps=256), x, rtol=0, atol=1e-4)
    assert flow_ends(denoise.process)[0] == pytest.approx(1)


def errors(process, invert, back, steps):
    """The largest errors of the latents and of the round trip for N(0, C²)."""
    denoise, found = Gaussian(process, C), []
    for n in steps:
        z = invert(denoise, X, n)
        ends = torch.tensor([process.t_max, process.t_min_trained], dtype=torch.float64)
        wanted = latents(process, ends) if invert is ddim_invert else latents(process)
        found.append([float((z - wanted).abs().max()), float((back(denoise, z, n) - X).abs().max())])
    return torch.tensor(found)


@pytest.mark.parametrize(("invert", "back", "order"), [(ddim_invert, ddim_decode, 1), (flow_invert, flow_decode, 4)])
def test_errors_fall_with_the_order_of_the_solver(invert, back, order):
    found = errors(CosineProcess(), invert, back, (32, 64, 128))
    rates = (found[:-1] / found[1:]).log2()
    assert (rates > order - 0.25).all(), (found, rates)


def test_ddim_inversion_has_few_enough_steps_for_the_levels():
    with pytest.raises(ValueError, match="steps must be at most 100"):
        ddim_invert(Gaussian(CosineProcess(steps=100), C), X, 101)
    for invert in (ddim_invert, flow_invert):
        with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
            invert(Gaussian(CosineProcess(), C), X, 0)


class Uneven(Oracle):
    """x0 ~ N(0, diag(c²)) with another c for each of two pixels."""

    c = torch.tensor([0.2, 0.9], dtype=torch.float64)

    def mean(self, x, alpha, sigma):
        return alpha * self.c**2 / (alpha**2 * self.c**2 + sigma**2) * x


@pytest.mark.parametrize("process", [CosineProcess(), CosineProcess(steps=100)], ids=["continuous", "discrete"])
def test_the_map_of_bits_is_the_bound_of_each_pixel(process):
    """Pixels are independent: the bits of a pixel depend on it only, and are those of an image of that pixel alone."""
    generator = torch.Generator().manual_seed(0)
    x = ((Uneven.c * torch.randn(1000, 2, generator=generator, dtype=torch.float64)).clamp(-1, 1) * 8).round() / 8
    found = bound_map(Uneven(process), x, 17, 8)
    torch.testing.assert_close(found.mean(1), bound_bits_per_dim(Uneven(process), x, 17, 8).total)
    other = bound_map(Uneven(process), torch.stack([x[:, 0], -x[:, 1]], dim=1), 17, 8)
    torch.testing.assert_close(other[:, 0], found[:, 0], rtol=1e-9, atol=1e-9)
    for pixel, c in enumerate(Uneven.c.tolist()):
        alone = bound_bits_per_dim(Gaussian(process, c), x[:, pixel : pixel + 1], 17, 8).total
        error = (found[:, pixel].var() + alone.var()).sqrt() / len(x) ** 0.5
        assert (found[:, pixel].mean() - alone.mean()).abs() < 4 * error < 2


def test_the_diffusion_term_is_the_log_density_up_to_a_constant():
    """For an exact denoiser ½ ∫ E‖ε - ε̂‖² dλ = -ln p(x) + const (Kong et al. 2023), here ‖x‖²/2c² + const."""
    process = EDMProcess()
    found = diffusion_nats(Gaussian(process, C), X, 200, torch.zeros(3, dtype=torch.int64))
    prior = per_sample(process.alpha(torch.full((3,), process.t_max).double()) ** 2, X) / process.prior_std**2
    wanted = X.square().sum(1) * (1 / (2 * C**2) - 0.5 * float(prior[0]))
    torch.testing.assert_close(found - found[1], wanted - wanted[1], rtol=1e-3, atol=1e-3)


def test_errors_of_the_noise_have_their_closed_form():
    """E(ε - ε̂)² = (α⁴ c⁴ + α² σ² x²)/V² for x0 = x, V = α² c² + σ²."""
    process, log_snr = CosineProcess(), torch.tensor([-3.0, 0.0, 4.0])
    x = torch.tensor([0.1, 0.9], dtype=torch.float64)[:, None].expand(2, 4000)
    t = process.time(log_snr.double())
    alpha, sigma = process.alpha(t), process.sigma(t)
    wanted = (alpha**4 * C**4 + alpha**2 * sigma**2 * x[:, :1] ** 2) / (alpha**2 * C**2 + sigma**2) ** 2
    torch.testing.assert_close(errors_by_level(Gaussian(process, C), x, log_snr, draws=5), wanted, rtol=0.04, atol=0)
