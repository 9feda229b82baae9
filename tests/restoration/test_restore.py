from dataclasses import dataclass

import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.core.errors import UserError
from genmods.diffusion import NoiseProcess
from genmods.diffusion.conditioning import ClassLabels, MaskedImage
from genmods.diffusion.latents import LatentSpace
from genmods.diffusion.prediction import consistent
from genmods.diffusion.processes import CosineProcess, EDMProcess
from genmods.networks.autoencoder import Autoencoder
from genmods.restoration.corrupted import denoise_corruption
from genmods.restoration.corruption import PoissonNoise
from genmods.restoration.denoising import denoise, denoise_samples, noise_level
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.operators import (
    BoxMask,
    Compose,
    Diagonal,
    GaussianBlur,
    Grayscale,
    Identity,
    KernelBlur,
    Mask,
)
from genmods.restoration.restore import restore


def prior(channels=3, size=8):
    """Smooth Gaussian images."""
    place = torch.arange(size, dtype=torch.float64)
    near = torch.exp(-((place[:, None] - place) ** 2) / 8)
    cov = 0.2 * torch.kron(torch.eye(channels, dtype=torch.float64) * 0.5 + 0.5, torch.kron(near, near))
    return Gaussian(torch.zeros(channels, size, size, dtype=torch.float64), cov + 1e-3 * torch.eye(len(cov)))


def draw(gaussian, n, seed=0):
    root = torch.linalg.cholesky(gaussian.cov)
    noise = torch.randn(n, len(root), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (noise @ root.T).view(n, *gaussian.mean.shape).clamp(-1, 1).float()


def made(kind, name):
    return imported(BUILTINS[kind][name])()


@pytest.mark.parametrize("name", BUILTINS["operator"])
@pytest.mark.parametrize("sigma_y", [0.0, 0.1])
def test_every_operator_is_inverted_better_than_by_its_pseudo_inverse(name, sigma_y):
    gaussian, operator = prior(), made("operator", name)
    truth = draw(gaussian, 6)
    y = operator(truth)
    y = y + sigma_y * torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    restored = restore(y, operator, gaussian.denoise(CosineProcess()), sigma_y=sigma_y, samples=16).mean(0)
    error, naive = ((x - truth).square().mean() for x in (restored, operator.pinv(y)))
    assert error < naive + 1e-6
    assert restored.shape == truth.shape and restored.dtype == torch.float32


@pytest.mark.parametrize("name", BUILTINS["method"])
def test_every_method_runs_on_noise_and_on_a_variance_exploding_process(name):
    gaussian = prior(1)
    truth = draw(gaussian, 2)
    for process, sigma_y in ((CosineProcess(), 0.1), (EDMProcess(), 0.0)):
        operator = Compose([GaussianBlur(0.7), BoxMask()])
        restored = restore(operator(truth), operator, gaussian.denoise(process), name, sigma_y)
        assert restored.isfinite().all() and restored.abs().max() <= 1


def test_a_sample_depends_on_seed_image_and_number_alone():
    gaussian = prior(1)
    truth = draw(gaussian, 3)
    model = gaussian.denoise(CosineProcess())
    masks = Mask(torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5)
    whole = restore(truth, masks, model, samples=3, batch_size=64)
    assert torch.allclose(whole, restore(truth, masks, model, samples=3, batch_size=2), atol=1e-5)
    assert torch.allclose(whole[:2], restore(truth, masks, model, samples=2), atol=1e-5)
    assert not torch.allclose(whole[0], whole[1], atol=1e-2)
    assert not torch.allclose(whole, restore(truth, masks, model, samples=3, seed=1), atol=1e-2)


def test_known_pixels_are_bit_identical():
    gaussian = prior(1)
    truth = draw(gaussian, 50)
    known = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(3)) > torch.rand(50, 1, 1, 1)
    for name in BUILTINS["method"]:
        filled = restore(truth, Mask(known), gaussian.denoise(CosineProcess()), name, samples=2, steps=4)
        assert torch.equal(torch.where(known, filled, 0), torch.where(known, truth, 0).expand(2, -1, -1, -1, -1))


def test_progress_counts_every_step():
    gaussian = prior(1)
    seen = []
    model = gaussian.denoise(CosineProcess())
    restore(draw(gaussian, 3), Identity(), model, steps=5, batch_size=2, progress=lambda *p: seen.append(p))
    assert seen == [(k, 10) for k in range(1, 11)]


class Model:
    """The shape of a trained diffusion task."""

    dtype = None

    def __init__(self, conditioning=None, codec=None):
        self.conditioning, self.image_shape = conditioning or ClassLabels(num_classes=10), (1, 8, 8)
        self.latents = LatentSpace(codec)
        self.process = CosineProcess()
        self.conditions = []

    def diffusion_model(self):
        return self

    def denoise(self, cond):
        self.conditions.append(cond)
        return prior(1).denoise(self.process)


@dataclass
class OneConvolution:
    process: NoiseProcess
    network: torch.nn.Module

    def __call__(self, x, t):
        return consistent(self.process, x, self.network(x), t)


class Weights(Model):
    """A task whose network has weights in float32 and does not take anything else."""

    dtype = torch.float32

    def denoise(self, cond):
        network = torch.nn.Conv2d(1, 1, 1).requires_grad_(False)
        torch.nn.init.constant_(network.weight, 0.5)
        torch.nn.init.zeros_(network.bias)

        return OneConvolution(self.process, network)


def test_labels_and_masks_reach_the_model():
    x = draw(prior(1), 2)
    model = Model()
    restore(x, BoxMask(), model, label=torch.tensor([3, 4]), samples=2, steps=2)
    assert model.conditions[0]["label"].tolist() == [3, 4, 3, 4]
    restore(x, BoxMask(), model, steps=2)
    assert model.conditions[-1]["label"].tolist() == [-1, -1]
    seeing = Model(MaskedImage(1, 8))
    filled = restore(x, BoxMask(), seeing, steps=2)
    image = seeing.conditions[0]["image"]
    assert torch.equal(image[:, :1] > 0, BoxMask().known(x).expand(2, 1, 8, 8))
    assert torch.equal(image[:, 1:], BoxMask()(x)) and torch.equal(BoxMask()(filled[0]), BoxMask()(x))


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (lambda x, m: restore(x, Identity(), object()), "requires a diffusion model"),
        (
            lambda x, m: restore(x, Identity(), Model(codec=Autoencoder(image_size=8, width=4, multipliers=(1,)))),
            "latents",
        ),
        (lambda x, m: restore(x, Identity(), m, "best"), "no method is called 'best'"),
        (lambda x, m: restore(x, Identity(), m, sigma_y=-1.0), "noise level"),
        (lambda x, m: restore(x, Identity(), m, sigma_y=float("nan")), "noise level"),
        (lambda x, m: restore(x, Identity(), m, samples=0), "at least 1"),
        (lambda x, m: restore(x * float("nan"), Identity(), m), "must be finite"),
        (lambda x, m: restore(x[0], Identity(), m), "float batch"),
        (lambda x, m: restore((x + 1) * 127.5, BoxMask(), m), r"lie on \[-1, 1\], got the value"),
        (lambda x, m: restore((x + 1) * 127.5, GaussianBlur(0.5), m, sigma_y=0.1), r"lie on \[-1, 1\]"),
        (lambda x, m: denoise((x + 1) * 127.5, m, 0.1), r"lie on \[-1, 1\]"),
        (lambda x, m: denoise_samples((x + 1) * 127.5, m, 0.1), r"lie on \[-1, 1\]"),
        (lambda x, m: restore((x * 9).byte(), Identity(), m), "float batch"),
        (lambda x, m: restore(x, Identity(), Model(), label=torch.tensor([10])), "label=10: the classes are 0, 1"),
        (lambda x, m: restore(x.repeat(1, 5, 1, 1), Identity(), Model()), "5 channels"),
        (lambda x, m: restore(x, Identity(), Model(MaskedImage(1, 8))), "requires a mask"),
        (lambda x, m: restore(x.repeat(1, 3, 1, 1), Grayscale(), m), r"must have shape \[1, 8, 8\], got \[3, 8, 8\]"),
    ],
)
def test_mistakes_are_one_clear_line(broken, line):
    gaussian = prior(1)
    with pytest.raises(UserError, match=line) as error:
        broken(draw(gaussian, 1), gaussian.denoise(CosineProcess()))
    assert "\n" not in str(error.value)


def test_restores_in_inference_mode():
    """Lightning validates and tests in this mode, in which no gradient can be taken."""
    gaussian, operator = prior(), BoxMask()
    model, truth = gaussian.denoise(CosineProcess()), draw(gaussian, 2)
    expected = restore(operator(truth), operator, model, "mmps", steps=4)
    with torch.inference_mode():
        found = restore(operator(truth), operator, model, "mmps", steps=4)
    torch.testing.assert_close(found, expected)


def test_measurements_beyond_the_range_of_images():
    """Noise and an operator that enlarges take y out of [-1, 1]; such measurements are restored."""
    gaussian = prior(1)
    model, truth = gaussian.denoise(CosineProcess()), draw(gaussian, 2)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    weights = Diagonal(torch.tensor([50.0]).view(1, 1, 1))
    sharpened = KernelBlur([-1.0, 2.1, -1.0, -1.0, 2.1, -1.0, -1.0, 2.1, -1.0])
    for y, operator, sigma_y in (
        (truth + 3 * noise, Identity(), 3.0), (weights(truth) + noise, weights, 1.0), (sharpened(truth), sharpened, 0.0)
    ):  # fmt: skip
        assert y.abs().max() > 3
        assert restore(y, operator, model, sigma_y=sigma_y, steps=2).isfinite().all()


def test_images_take_the_type_of_the_model():
    """Float64 images of a float32 network: what it gives for them in float32."""
    model = Weights()
    x = draw(prior(1), 2)
    for call in (
        lambda y: restore(y, BoxMask(), model, steps=2), lambda y: denoise(y, model, 0.1),
        lambda y: denoise_samples(y, model, 0.1, 2), lambda y: denoise_corruption(y, model, PoissonNoise(), 2, 2),
        lambda y: noise_level(y, model),
    ):  # fmt: skip
        found = call(x.double())
        assert torch.equal(found, call(x))
        assert found.dtype in (torch.float32, torch.float64)


def test_a_mask_is_true_or_false():
    with pytest.raises(ValueError, match="true or false, 1 or 0"):
        Mask(torch.full((8, 8), 0.5))
    assert Mask(torch.ones(8, 8)).known(torch.zeros(1, 1, 8, 8)).all()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"batch_size": 0}, "samples and batch_size must be at least 1, got 1 and 0"),
        ({"label": torch.zeros(3, dtype=torch.int64)}, r"label must have shape \[2\], one per image"),
        ({"numbers": torch.zeros(1, dtype=torch.int64)}, r"numbers must have shape \[2\], one per image"),
    ],
)
def test_settings_that_do_not_fit_the_batch(settings, told):
    with pytest.raises(UserError, match=told):
        restore(torch.zeros(2, 3, 8, 8), BoxMask(), prior().denoise(CosineProcess()), **settings)
