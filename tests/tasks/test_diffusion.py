"""The diffusion task: samples, inputs of the network, and refusals."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from genmods.config.build import create
from genmods.config.builtins import BUILTINS
from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.data.sources.digits import Digits
from genmods.diffusion import DDIMSampler
from genmods.diffusion.conditioning import ClassLabels, MaskedImage, Unconditional
from genmods.diffusion.conditioning.mask import masked
from genmods.diffusion.prediction import EpsPrediction, VPrediction
from genmods.diffusion.processes import CosineProcess, LearnedProcess
from genmods.diffusion.weightings import ElboWeighting
from genmods.models import DiffusionModel
from genmods.networks.autoencoder import Autoencoder
from genmods.networks.base import Network
from genmods.networks.cnn import CNN
from genmods.networks.unet import UNet
from genmods.restoration.operators import BoxMask
from genmods.restoration.restore import restore
from genmods.tasks.base import FitPlan
from genmods.tasks.diffusion import DiffusionTask
from genmods.tracking.monitor import Monitor
from support.fitting import trainer

SIDE = 6


class Told(Network):
    """A convolution whose output depends on the label, and which records its inputs."""

    two_times = True

    def __init__(self, num_classes=3, cond_channels=0, out_channels=1):
        super().__init__()
        self.num_classes = num_classes
        self.layer = nn.Conv2d(1 + cond_channels, out_channels, 3, padding=1)
        self.shift = nn.Parameter(torch.linspace(-1, 1, num_classes + 1))
        self.seen = []

    def forward(self, x, log_snr, cond=None):
        cond = cond or {}
        if not x.is_meta:
            self.seen.append(cond)
        h = self.layer(torch.cat([x, *([cond["image"]] if "image" in cond else [])], 1))
        label = cond.get("label", torch.full((len(x),), -1, device=x.device))
        return h.tanh() + self.shift[label + 1].view(-1, 1, 1, 1)


def model(network=None, process=None, **settings):
    torch.manual_seed(0)
    settings = {"sampler": DDIMSampler(steps=4), "image_size": SIDE, "num_classes": 3, "sigma_data": 0.7, **settings}
    return DiffusionModel(network or Told(), process or CosineProcess(), VPrediction(), **settings)


def training(weighting=None, **settings):
    return DiffusionTask(model(**settings), weighting=weighting)


def batch(n=8):
    generator = torch.Generator().manual_seed(1)
    return {"image": torch.rand(n, 1, SIDE, SIDE, generator=generator) * 2 - 1, "label": torch.arange(n) % 3}


@pytest.mark.parametrize("name", BUILTINS["sampler"])
def test_a_sample_depends_on_seed_number_and_label_alone(name):
    straight = {"process": create("process", "rectified")} if name == "flow_ode" else {}
    diffusion, guided = model(sampler=create("sampler", name, steps=4), **straight), {"guidance": 1.5}
    guided = {} if name == "mean_flow" else guided  # has no guidance but that of its training
    labels = torch.tensor([2, 0, 1, 1, 0, 2, 2, 0, 1, -1])
    images = diffusion.sample(10, {"label": labels}, seed=5, batch_size=3, **guided)
    again = diffusion.sample(10, {"label": labels}, seed=5, batch_size=7, **guided)
    torch.testing.assert_close(images, again, atol=1e-5, rtol=0)
    late = diffusion.sample(4, {"label": labels}, seed=5, first=6, **guided)
    torch.testing.assert_close(images[6:], late, atol=1e-5, rtol=0)
    assert images.shape == (10, 1, SIDE, SIDE) and images.abs().max() <= 1
    assert not torch.allclose(images, diffusion.sample(10, {"label": labels}, seed=6, **guided))
    assert not torch.allclose(images[:1], diffusion.sample(1, {"label": labels[1:2]}, seed=5, **guided))


def test_sampling_takes_nothing_from_the_global_generator():
    diffusion, state = model(), torch.get_rng_state()
    diffusion.sample(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_labels_the_classes_come_in_turn():
    diffusion = model()
    torch.testing.assert_close(diffusion.sample(7), diffusion.sample(7, {"label": torch.arange(7) % 3}))


def test_guidance_of_weight_one_is_none_and_others_extrapolate():
    diffusion = model()
    x, t = torch.randn(3, 1, SIDE, SIDE), torch.full((3,), 0.5, dtype=torch.float64)
    cond = {"label": torch.tensor([0, 1, 2])}
    denoise, denoiser = diffusion.denoise, diffusion.denoiser
    with_label, without = denoiser(x, t, cond), denoiser(x, t, {})
    assert torch.equal(denoise(cond, 1.0)(x, t).x0, with_label.x0)
    torch.testing.assert_close(denoise(cond, 3.0)(x, t).x0, without.x0 + 3 * (with_label.x0 - without.x0))
    torch.testing.assert_close(denoise(cond, 0.0)(x, t).eps, without.eps)
    assert torch.equal(diffusion.sample(3), diffusion.sample(3, guidance=1.0))
    assert not torch.allclose(diffusion.sample(3), diffusion.sample(3, guidance=2.0))


def test_a_condition_that_training_has_not_seen_is_refused():
    diffusion, x = model(conditioning=ClassLabels(3, drop=0.0)), batch()["image"]
    assert diffusion.sample(3).shape == (3, 1, SIDE, SIDE)
    for ask in (
        lambda: diffusion.likelihood().bound(x),
        lambda: diffusion.sample(3, guidance=2.0),
        lambda: restore(x, BoxMask(), diffusion),
    ):
        with pytest.raises(UserError, match="drop: 0"):
            ask()


@pytest.mark.parametrize("labels", [[0, 1, 3], [0, -2, 1], [[0, 1, 2]]])
def test_labels_out_of_range_are_refused_in_one_line(labels):
    with pytest.raises(UserError, match=r"^condition label=.*: the classes are 0, 1, 2$"):
        model().sample(3, {"label": torch.tensor(labels)})


def test_without_classes_the_model_is_unconditional():
    diffusion = model(num_classes=0)
    assert diffusion.conditioned_on().names == ()
    diffusion.sample(2)
    assert not any(diffusion.denoiser.network.seen)


def test_a_mask_conditional_model_is_sampled_with_no_pixel_known():
    diffusion = model(Told(0, cond_channels=2), conditioning=MaskedImage(image_size=SIDE))
    assert diffusion.sample(3).shape == (3, 1, SIDE, SIDE)
    seen = diffusion.denoiser.network.seen
    assert seen and not any(cond["image"].any() for cond in seen)
    known = {"image": masked(batch(2)["image"])}
    x, t = torch.randn(2, 1, SIDE, SIDE), torch.full((2,), 0.5, dtype=torch.float64)
    nothing = {"image": torch.zeros_like(known["image"])}
    first, second = diffusion.denoiser(x, t, known), diffusion.denoiser(x, t, nothing)
    torch.testing.assert_close(diffusion.denoise(known, 2.0)(x, t).x0, 2 * first.x0 - second.x0)


@pytest.mark.parametrize(
    ("network", "settings", "line"),
    [
        (CNN(layers=("conv 4", "avgpool")), {}, "CNN does not fit this task: "),
        (Told(out_channels=3), {}, r"Told must keep the shape \[1, 6, 6\], got \[3, 6, 6\]"),
        (Told(cond_channels=1), {}, "Told does not fit this task: "),
        (
            UNet(width=4, multipliers=(1,), cond_channels=2),
            {},
            r"must have 2 channels \(cond_channels\), got none",
        ),
        (
            Told(),
            {"codec": CNN(layers=("conv 4", "avgpool"))},
            "codec must be an autoencoder with encode and decode, got CNN",
        ),
        (Told(), {"codec": Autoencoder(image_size=SIDE, width=4)}, "Told does not fit this task: "),
        (Told(), {"codec": Autoencoder(image_size=SIDE, width=4), "latent_scale": 0.0}, "latent_scale must be above 0"),
        (Told(out_channels=2), {}, "a learned variance requires a discrete process"),
        (Told(num_classes=2), {}, "Told knows 2 classes and the data have 3: "),
        (
            Told(),
            {"conditioning": ClassLabels(3, drop=0.0), "weighting": ElboWeighting()},
            "conditioning.drop must be above 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(network, settings, line):
    with pytest.raises(ValueError, match=line) as error:
        training(network=network, **settings)
    assert "\n" not in str(error.value)


def test_a_network_with_a_learned_variance_fits():
    assert model(Told(out_channels=2), CosineProcess(steps=10)).sample(2).shape == (2, 1, SIDE, SIDE)


def test_a_step_returns_the_error_and_the_noise_level_of_each_sample():
    task = training()
    output = task.training_step(batch(), 0)
    assert output["error"].shape == output["log_snr"].shape == (8,)
    torch.testing.assert_close(output["loss"], output["error"].mean())  # of the weighting `simple`
    assert output["loss"].requires_grad and not output["error"].requires_grad and not output["log_snr"].requires_grad


class Blind(Network):
    """Says 0 whatever it sees."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x, log_snr, cond=None):
        return 0 * x + 0 * self.unused


@pytest.mark.parametrize(
    "process", [CosineProcess(), CosineProcess(steps=50), LearnedProcess()], ids=["cosine", "cosine-50", "learned"]
)
def test_bits_of_a_model_that_sees_no_noise(process, tmp_path):
    """ε taken for 0: ½ (log-SNR_1 - log-SNR_0) nats per pixel, or ½ Σ (SNR_s/SNR_t - 1); one time an image spreads."""
    levels = torch.tensor([process.t_min_trained, process.t_max]) if process.levels is None else process.levels
    log_snr = process.log_snr(levels).detach()
    diffusion = -0.5 * log_snr.diff().sum() if process.levels is None else 0.5 * torch.expm1(-log_snr.diff()).sum()
    task = DiffusionTask(
        DiffusionModel(Blind(), process, EpsPrediction(), image_size=8, levels=2), weighting=ElboWeighting()
    )
    coins = torch.randint(0, 2, (5000, 1, 8, 8), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    likelihood = task.model.likelihood()
    bits = likelihood.terms(coins, num_times=1)
    prior = 0.5 * torch.nn.functional.softplus(log_snr[-1]) / math.log(2)
    torch.testing.assert_close(bits.prior.mean(), prior, rtol=1e-6, atol=1e-9)
    assert abs(bits.diffusion.mean() * math.log(2) / diffusion - 1) < 0.04
    torch.testing.assert_close(likelihood.terms(coins[9:12], torch.arange(9, 12), num_times=1).total, bits.total[9:12])
    data = [{"image": coins[i], "label": 0, "index": i} for i in range(64)]
    (found,) = trainer(default_root_dir=tmp_path).validate(task, DataLoader(data, 64), verbose=False)
    assert found["val/bpd"] == pytest.approx(likelihood.terms(coins[:64], num_times=1).total.mean().item(), rel=1e-5)


def test_only_the_elbo_of_pixels_is_judged_by_bits():
    assert training().monitor is None and training(ElboWeighting()).monitor == Monitor("val/bpd", "min")
    codec = Autoencoder(image_size=SIDE, width=4, multipliers=(1,), latent_channels=1)
    assert training(ElboWeighting(), codec=codec).monitor is None


def test_the_network_learns_from_real_batches(tmp_path):
    """A few steps of gradient descent on digits lower the validation loss, which uses the same noise each time."""
    torch.manual_seed(0)
    network = UNet(width=8, multipliers=(1,), blocks=1, attention=(), num_classes=10)
    model = DiffusionModel(network, CosineProcess(), VPrediction(), image_size=8, num_classes=10)
    task = DiffusionTask(model, plan=FitPlan(optimizer=partial(torch.optim.AdamW, lr=5e-3)))
    data = ImageData(Digits(), batch_size=64)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(
        default_root_dir=tmp_path, max_steps=40, accelerator="cpu", use_distributed_sampler=False, **quiet
    )
    ((before,), (same,)) = (trainer.validate(task, data, verbose=False) for _ in range(2))
    trainer.fit(task, data)
    (after,) = trainer.validate(task, data, verbose=False)
    assert before == same and after["val/loss"] < 0.8 * before["val/loss"]


def test_mixed_labels_cannot_be_conditioned_on():
    mixed = batch() | {"label": torch.full((8, 3), 1 / 3)}
    with pytest.raises(UserError, match="one class per image, got several or mixed ones"):
        training().training_step(mixed, 0)
    assert training(conditioning=Unconditional()).training_step(mixed, 0)["loss"].isfinite()
