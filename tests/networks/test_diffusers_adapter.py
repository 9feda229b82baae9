import math
import sys

import pytest
import torch

from genmods.core.errors import UserError
from genmods.diffusion import CosineProcess, Denoiser, EpsPrediction, LinearProcess
from genmods.networks.adapters.diffusers import DiffusersUNet

SMALL = {"image_size": 8, "channels": (8, 16), "blocks": 1}


@pytest.fixture
def diffusers():
    return pytest.importorskip("diffusers")


def test_it_gives_the_model_its_own_samples_and_steps(diffusers):
    """At every step of the schedule the adapter equals the model called the way diffusers' pipelines call it."""
    network = DiffusersUNet(**SMALL, sigma_data=0.8).eval()
    steps = torch.tensor([0, 1, 17, 500, 998, 999])
    alphas = diffusers.DDPMScheduler().alphas_cumprod[steps]
    x_t = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    rms = (0.64 * alphas + 1 - alphas).sqrt().view(-1, 1, 1, 1)
    log_snr = (alphas / (1 - alphas)).log()
    torch.testing.assert_close(network.step(log_snr), steps.float(), atol=2e-3, rtol=0)
    expected = network.model(x_t, steps).sample
    torch.testing.assert_close(network(x_t / rms, log_snr), expected, atol=2e-3, rtol=2e-3)


def test_steps_fall_with_the_log_snr_and_stay_on_the_schedule(diffusers):
    steps = DiffusersUNet(**SMALL).step(torch.linspace(-30, 30, 500))
    assert (steps.diff() <= 0).all()
    assert steps[0] == 999
    assert steps[-1] == 0


@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_a_denoiser_calls_it_at_the_steps_of_its_schedule(diffusers, betas):
    """Over the levels of the same discrete process, from the noisiest, whose log-SNR of the cosine schedule is
    -19.8."""
    process = LinearProcess(steps=1000) if betas == "linear" else CosineProcess(steps=1000)
    network, called = DiffusersUNet(**SMALL, betas=betas).eval(), []
    network.model.register_forward_pre_hook(lambda module, inputs: called.append(inputs[1]))
    t = torch.tensor([1000, 999, 998, 500, 2, 1], dtype=torch.float64) / 1000
    Denoiser(network, process, EpsPrediction())(torch.zeros(6, 1, 8, 8), t)
    torch.testing.assert_close(called[0], torch.tensor([999.0, 998, 997, 499, 1, 0]), atol=5e-3, rtol=0)


def test_a_schedule_that_ends_without_signal(diffusers, tmp_path):
    unet = DiffusersUNet(**SMALL).model
    scheduler = diffusers.DDPMScheduler(rescale_betas_zero_snr=True)
    diffusers.DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(tmp_path)
    network = DiffusersUNet(path=str(tmp_path)).eval()
    last = torch.logit(scheduler.alphas_cumprod.double())[998].item()
    steps = network.step(torch.tensor([-math.inf, -1e4, last - 0.1, last, last + 1e-3]))
    assert steps[0] == steps[1] == 999 and 998 < steps[2] < 999
    torch.testing.assert_close(steps[3:], torch.tensor([998.0, 998.0]), atol=5e-3, rtol=0)
    assert network(torch.randn(1, 1, 8, 8), torch.tensor([-math.inf])).isfinite().all()


def test_a_saved_pipeline_comes_back(diffusers, tmp_path):
    unet = DiffusersUNet(**SMALL, num_classes=2).model
    scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    diffusers.DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(tmp_path)
    network = DiffusersUNet(path=str(tmp_path)).eval()
    expected = torch.logit(scheduler.alphas_cumprod.double()).float()
    torch.testing.assert_close(network.log_snrs, expected)
    x, labels = torch.randn(1, 1, 8, 8), torch.tensor([2])
    step = torch.tensor([400.0])
    rms = 1.0  # sigma_data is 1
    out = network(x / rms, expected[400:401], {"label": torch.tensor([-1])})
    torch.testing.assert_close(out, unet.eval()(x, step, class_labels=labels).sample, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": (12,)}, "channels[0] must be a multiple of 8, got 12"),
        (
            {"image_size": 30, "channels": (8, 8, 8)},
            "must be a multiple of 2 ** (len(channels) - 1) = 4, got 30",
        ),
        ({"attention": (5,)}, "attention[0] must be less than len(channels) = 3, got 5"),
        ({"path": "/nowhere"}, "got /nowhere"),
    ],
)
def test_bad_settings_are_named(diffusers, settings, message):
    with pytest.raises(ValueError) as error:
        DiffusersUNet(**settings)
    assert message in str(error.value)


def test_without_diffusers_one_line_explains_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UserError, match=r"pip install 'genmods\[diffusers\]'"):
        DiffusersUNet()
