"""Parity with diffusers on our own noise levels, at most 2e-5; each known difference is named where it is allowed."""

import pytest
import torch

from genmods.diffusion import (
    DDIMSampler,
    DDPMSampler,
    DPMpp2MSampler,
    DPMpp2MSDESampler,
    DPMpp3MSampler,
    EDMProcess,
    EulerSampler,
    HeunSampler,
    LinearProcess,
    UniPCSampler,
)
from support.oracles import Mixture

diffusers = pytest.importorskip("diffusers")
STEPS, TOLERANCE = 20, 2e-5
COMMON = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02}


def start(scale=1.0):
    return scale * torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Draws:
    """The noise of `start` and of each step."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        self.table = torch.randn(1000, 6, 2, dtype=torch.float64, generator=generator)

    def initial(self):
        return start()

    def __call__(self, step):
        return self.table[step]


def run_peer(scheduler, eps, x, noise=None, monkeypatch=None):
    """Runs a scheduler of diffusers with ε from `eps(x, t)`, its random draws replaced by `noise(step)`."""
    module = type(scheduler).__module__
    for i, t in enumerate(scheduler.timesteps):
        if noise is not None:
            monkeypatch.setattr(f"{module}.randn_tensor", lambda *a, i=i, **k: noise(i))
        x = scheduler.step(eps(scheduler, x, t, i), t, x).prev_sample
    return x


def discrete_eps(denoise):
    """The peer's timestep k is our level (k + 1)/1000."""
    return lambda scheduler, x, t, i: denoise(x, ((t.double() + 1) / 1000).expand(len(x))).eps


@pytest.mark.parametrize("ours", [DDPMSampler(1000), DDPMSampler(1000, variance="large")], ids=["small", "large"])
def test_ddpm(ours, monkeypatch):
    """Named: clip_sample is on by default there; fixed_large has β at the first level, where neither adds noise."""
    process = LinearProcess(steps=1000)
    denoise, noise = Mixture(process), Draws()
    peer = diffusers.DDPMScheduler(**COMMON, clip_sample=False, variance_type=f"fixed_{ours.variance}")
    peer.set_timesteps(1000)
    found = ours.sample(denoise, noise)
    want = run_peer(peer, discrete_eps(denoise), start(), noise, monkeypatch)
    assert (found - want).abs().max() < TOLERANCE


def leading(process):
    """diffusers' 'leading' levels, which start below the last one, and end at the data only with set_alpha_to_one."""
    levels = torch.arange(0, 1000, 1000 // STEPS).flip(0) + 1
    return torch.cat([levels.double() / 1000, torch.zeros(1).double()])


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim(eta, monkeypatch):
    """Named: clip_sample is off; 'leading' starts below T - 1, so that both start from the same x at level 951/1000."""
    process = LinearProcess(steps=1000)
    denoise, noise = Mixture(process), Draws()
    peer = diffusers.DDIMScheduler(**COMMON, clip_sample=False, timestep_spacing="leading")
    peer.set_timesteps(STEPS)
    grid = leading(process)
    assert torch.equal(((peer.timesteps + 1).double() / 1000), grid[:-1])
    found = DDIMSampler(STEPS, eta=eta)(denoise, start(), grid, noise)
    x = start()
    for i, t in enumerate(peer.timesteps):
        x = peer.step(discrete_eps(denoise)(peer, x, t, i), t, x, eta=eta, variance_noise=noise(i)).prev_sample
    assert (found - x).abs().max() < TOLERANCE


def edm_levels(peer):
    """The peer's own float32 σ, as our grid: its last is 0."""
    return peer.sigmas.double()


def edm_eps(denoise):
    """EDM schedulers take F: x0 = c_skip x + c_out F with σ_data = 0.5, from the σ of the step they are at."""

    def output(scheduler, x, t, i):
        sigma = scheduler.sigmas[scheduler.step_index if scheduler.step_index is not None else 0].double()
        x0 = denoise(x, sigma.expand(len(x))).x0
        return (x0 - scheduler.precondition_outputs(x, torch.zeros_like(x), sigma)) / (
            scheduler.precondition_outputs(x, torch.ones_like(x), sigma)
            - scheduler.precondition_outputs(x, torch.zeros_like(x), sigma)
        )

    return output


def test_euler():
    process = EDMProcess()
    denoise = Mixture(process)
    peer = diffusers.EDMEulerScheduler(sigma_min=0.02, sigma_max=10.0, sigma_data=0.5)
    peer.set_timesteps(STEPS)
    peer.is_scale_input_called = True
    found = EulerSampler()(denoise, start(10.0), edm_levels(peer), Draws())
    want = run_peer(peer, edm_eps(denoise), start(10.0))
    assert (found - want).abs().max() < TOLERANCE


def test_heun():
    """Its loop asks twice a step; on the linear process in σ = √((1 - ᾱ)/ᾱ), the x of ours over α."""
    process = LinearProcess(steps=1000)
    denoise = Mixture(process)
    peer = diffusers.HeunDiscreteScheduler(**COMMON, beta_schedule="linear", timestep_spacing="linspace")
    peer.set_timesteps(STEPS)
    sigmas = torch.cat([peer.sigmas[:1], peer.sigmas[1::2]]).double()
    levels = torch.unique(sigmas, sorted=True).flip(0)
    grid = process.time(-2 * levels.log())
    grid[-1] = 0.0
    x = start(float(levels[0]))

    def eps(scheduler, z, t, i):
        sigma = scheduler.sigmas[scheduler.step_index or 0].double()
        time = process.time(-2 * sigma.log()).expand(len(z))
        return denoise(process.alpha(time)[:, None] * z, time).eps

    peer._init_step_index(peer.timesteps[0])
    want = run_peer(peer, eps, x)
    found = HeunSampler()(denoise, process.alpha(grid[:1]) * x, grid, Draws())
    assert (found - want).abs().max() < TOLERANCE


MULTISTEP = [
    (DPMpp2MSampler(), "DPMSolverMultistepScheduler", {"solver_order": 2}),
    (DPMpp3MSampler(), "DPMSolverMultistepScheduler", {"solver_order": 3, "lower_order_final": False}),
    (DPMpp2MSDESampler(), "DPMSolverMultistepScheduler", {"solver_order": 2, "algorithm_type": "sde-dpmsolver++"}),
    (UniPCSampler(), "UniPCMultistepScheduler", {"solver_order": 2}),
    (UniPCSampler(order=3), "UniPCMultistepScheduler", {"solver_order": 3, "lower_order_final": False}),
]  # fmt: skip


@pytest.mark.parametrize("ours, name, settings", MULTISTEP, ids=["2m", "3m", "2m-sde", "unipc-2", "unipc-3"])
def test_multistep(ours, name, settings, monkeypatch):
    """Named: final_sigmas_type "zero" forces a first-order last step there, as noise-free data do here; it acts on
    lower_order_final only below 15 steps; UniPC lowers the order of its last steps always, else it divides by 0
    at σ = 0, so UniPC-3 is compared up to there; its σ are float32.
    """
    process = LinearProcess(steps=1000)
    denoise, noise = Mixture(process), Draws()
    peer = getattr(diffusers, name)(**COMMON, beta_schedule="linear", final_sigmas_type="zero", **settings)
    peer.set_timesteps(STEPS)
    grid = process.time(-2 * peer.sigmas.double().log())
    grid[-1] = 0.0

    if settings.get("solver_order") == 3 and name.startswith("UniPC"):
        grid, peer.timesteps = grid[:-1], peer.timesteps[:-1]

    def eps(scheduler, x, t, i):
        return denoise(x, grid[i].expand(len(x))).eps

    found = ours(denoise, start(), grid, noise)
    want = run_peer(peer, eps, start(), noise if "sde" in str(settings) else None, monkeypatch)
    assert (found - want).abs().max() < TOLERANCE
