"""Models of degraded images, on Gaussian data: the condition's distribution, and draws with the conditional moments."""

import pytest
import torch

from genmods.core.errors import UserError
from genmods.diffusion import CosineProcess, DDIMSampler, LatentSpace
from genmods.diffusion.conditioning import Unconditional
from genmods.diffusion.grids import AngleGrid
from genmods.diffusion.prediction import consistent
from genmods.diffusion.samplers.dpmpp import DPMpp2MSDESampler
from genmods.networks.base import Network
from genmods.networks.unet import UNet
from genmods.restoration import (
    Average,
    Chain,
    Degraded,
    GaussianNoise,
    Grayscale,
    Identity,
    Jpeg,
    RandomChoice,
    Restorer,
    UniformRange,
)
from genmods.restoration.methods import Guidance

SIDE, NOISE = 4, 0.1
PLACE = torch.arange(SIDE, dtype=torch.float64)
NEAR = torch.exp(-((PLACE[:, None] - PLACE) ** 2) / 4)
COV = 0.02 * torch.kron(NEAR, NEAR) + 1e-4 * torch.eye(SIDE**2, dtype=torch.float64)
CORRUPTION = GaussianNoise(NOISE * 255 / 2)


def images(n):
    noise = torch.randn(n, SIDE**2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (noise @ torch.linalg.cholesky(COV).T).view(n, 1, SIDE, SIDE)


def matrix(operator):
    """The matrix of `operator` after whose measurement A⁺ is applied [D, D], and of A⁺ [D, M]."""
    basis = torch.eye(SIDE**2, dtype=torch.float64).view(-1, 1, SIDE, SIDE)
    forward = operator(basis)
    measured = torch.eye(forward[0].numel(), dtype=torch.float64).view(-1, *forward.shape[1:])
    return forward.flatten(1).T, operator.pinv(measured).flatten(1).T


def gain_and_cov(operator):
    """The matrix K and the covariance C of the conditional distribution N(K z, C) of an image for z = A⁺ y."""
    a, inverse = matrix(operator)
    seen = inverse @ a
    cross = COV @ seen.T
    gain = cross @ torch.linalg.pinv(seen @ COV @ seen.T + NOISE**2 * inverse @ inverse.T, rtol=1e-9, hermitian=True)
    return gain, COV - gain @ cross.T


class Conditional:
    """A diffusion model whose denoiser is exact for Gaussian images, conditioned on the degraded image."""

    device, dtype = torch.device("cpu"), torch.float64

    def __init__(self, operator, corruption=CORRUPTION, sampler=None):
        self.sampler = sampler or DPMpp2MSDESampler(grid=AngleGrid())
        self.image_shape, self.process, self.latents = (1, SIDE, SIDE), CosineProcess(), LatentSpace()
        self.conditioning = Degraded(operator, corruption, in_channels=1, image_size=SIDE).eval()
        self.gain, self.cov = gain_and_cov(operator or Identity())

    def diffusion_model(self):
        return self

    def default_sampler(self):
        return self.sampler

    def denoise(self, cond):
        return Exact(self, cond["image"].double())


class Exact:
    def __init__(self, model, image):
        self.process, self.model, self.image = model.process, model, image

    def __call__(self, x_t, t):
        alpha, sigma = self.process.alpha(t)[:, None], self.process.sigma(t)[:, None]
        mean = self.image[:, 1:].flatten(1) @ self.model.gain.T
        values, vectors = torch.linalg.eigh(self.model.cov)
        gain = alpha * values / (alpha**2 * values + sigma**2)
        x0 = mean + ((x_t.flatten(1) - alpha * mean) @ vectors * gain) @ vectors.T
        return consistent(self.process, x_t, x0.view(x_t.shape), t)


@pytest.mark.parametrize("operator", [None, Average(2)])
def test_the_best_linear_estimate_from_the_condition_is_the_conditional_mean(operator):
    torch.manual_seed(0)
    x = images(40_000)
    cond = Degraded(operator, CORRUPTION, image_size=SIDE).eval()({"image": x})["image"]
    assert cond.shape == (40_000, 2, SIDE, SIDE) and (cond[:, 0] == 1).all()
    z, target = cond[:, 1].flatten(1), x.flatten(1)
    gain, cov = gain_and_cov(operator or Identity())
    torch.testing.assert_close((target - z @ gain.T).T.cov(), cov, atol=1e-3, rtol=0)
    assert ((target - z @ gain.T).T @ z / len(z)).abs().max() < 1e-3  # orthogonal to the condition


@pytest.mark.parametrize("operator", [None, Average(2)])
def test_draws_have_the_conditional_mean_and_covariance(operator):
    x, keys = images(2), torch.arange(2)
    y = CORRUPTION((operator or Identity())(x), keys)
    model = Conditional(operator)
    drawn = Restorer(model, steps=100, batch_size=2048).restore(y, operator, samples=1000).flatten(2)
    gain, cov = gain_and_cov(operator or Identity())
    z = (operator or Identity()).pinv(y).flatten(1)
    torch.testing.assert_close(drawn.mean(0), z @ gain.T, atol=0.01, rtol=0)
    for place in range(2):
        torch.testing.assert_close(drawn[:, place].T.cov(), cov, atol=2e-3, rtol=0)


def test_draws_are_those_of_the_sampler_of_the_model_with_the_steps_of_the_restorer():
    y, asked = CORRUPTION(images(2), torch.arange(2)), []
    sampler = DDIMSampler(steps=50)
    model = Conditional(None, sampler=sampler)
    denoise = model.denoise
    model.denoise = lambda cond: Counted(denoise(cond), asked)
    drawn = Restorer(model, steps=3).restore(y)
    assert len(asked) == 3 and sampler.steps == 50
    other = Restorer(model, Guidance(sampler=DDIMSampler(steps=3))).restore(y)
    torch.testing.assert_close(drawn, other, rtol=0, atol=0)


class Counted:
    """Keeps the times at which a denoiser is called."""

    def __init__(self, denoiser, asked):
        self.process, self.denoiser, self.asked = denoiser.process, denoiser, asked

    def __call__(self, x_t, t):
        self.asked.append(t)
        return self.denoiser(x_t, t)


def test_the_degradation_of_the_training_is_the_default():
    model, x = Conditional(Average(2)), images(2)
    y = Average(2)(x)
    restorer = Restorer(model, steps=4)
    assert torch.equal(restorer.restore(y), restorer.restore(y, Average(2)))
    with pytest.raises(UserError, match=r"trained for the operator Average\(factor=2\), got Grayscale"):
        restorer.restore(x.repeat(1, 3, 1, 1)[:, :1], Grayscale())
    model.conditioning = Unconditional()
    with pytest.raises(UserError, match="an operator is required"):
        Restorer(model).restore(y)


def test_a_large_image_is_restored_in_tiles_with_their_part_of_the_condition():
    """Pixels are independent, so that the result of a large image has the conditional mean in each tile."""
    model = Conditional(None)
    model.gain, model.cov = torch.eye(SIDE**2).double() * 0.5, 1e-6 * torch.eye(SIDE**2).double()
    y = torch.linspace(-1, 1, 9 * 14, dtype=torch.float64).view(1, 1, 9, 14)
    drawn = Restorer(model, steps=8).restore(y)
    torch.testing.assert_close(drawn, y / 2, atol=0.02, rtol=0)


def test_what_a_model_was_trained_for():
    jpeg = UniformRange(Jpeg(10), Jpeg(40))
    both = RandomChoice([jpeg, Chain([GaussianNoise(5), Jpeg(80)])])
    assert jpeg.covers(Jpeg(10)) and jpeg.covers(Jpeg(40)) and not jpeg.covers(Jpeg(41))
    assert (
        both.covers(Jpeg(20)) and not both.covers(GaussianNoise(5)) and both.covers(Chain([GaussianNoise(5), Jpeg(80)]))
    )
    model = Conditional(None, jpeg)
    restorer, y = Restorer(model, steps=4), images(1).clamp(-1, 1)
    assert torch.equal(restorer.restore(y, Jpeg(25)), restorer.restore(y))
    with pytest.raises(UserError, match=r"not trained for Jpeg\(quality=50\).*recipes/photos/jpeg.yaml"):
        restorer.restore(y, Jpeg(50))


def test_the_condition_is_dropped_in_training_only():
    conditioning, data = Degraded(image_size=SIDE, drop=0.25), {"image": images(4000), "paired": images(4000)}
    shown = conditioning.train()(data)["image"]
    dropped = (shown == 0).flatten(1).all(1)
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(shown[~dropped], conditioning.eval()(data)["image"][~dropped])
    assert torch.equal(conditioning(data)["image"][:, 1:], data["paired"])
    assert torch.equal(conditioning.null(3)["image"], torch.zeros(3, 2, SIDE, SIDE))


def test_images_without_a_degradation_are_refused():
    with pytest.raises(UserError, match="an operator, a corruption, or paired data"):
        Degraded(image_size=SIDE)({"image": images(2)})
    with pytest.raises(ValueError, match="UNet has cond_channels 0; degraded requires 2"):
        Degraded(image_size=SIDE).check(UNet(width=8, multipliers=(1,), blocks=1))


def test_which_degradations_mean_the_same():
    one = Degraded(Average(2), image_size=8)
    assert one.same_as(Degraded(Average(2), drop=0.5, image_size=8))
    assert not one.same_as(Degraded(Average(4), image_size=8)) and not one.same_as(Degraded(Average(2), image_size=4))


class Brighter(Network):
    """Adds a tenth, and with dropout in training."""

    def __init__(self):
        super().__init__()
        self.shift, self.dropout = torch.nn.Parameter(torch.tensor(0.1)), torch.nn.Dropout(0.5)

    def forward(self, x, log_snr, cond=None):
        return self.dropout(torch.ones_like(x)) * self.shift


class Sums(Brighter):
    def forward(self, x, log_snr, cond=None):
        return x.sum(1)


def test_the_condition_is_the_result_of_the_predictor_which_is_not_trained():
    conditioning = Degraded(Average(2), predictor=Brighter(), in_channels=1, image_size=SIDE).train()
    y = Average(2)(images(3)).float()
    seen = conditioning.seen(y)
    assert seen.shape == (3, 2, SIDE, SIDE) and (seen[:, 0] == 1).all() and not seen.requires_grad
    torch.testing.assert_close(seen[:, 1:], (Average(2).pinv(y) + 0.1).clamp(-1, 1))
    assert not any(parameter.requires_grad for parameter in conditioning.parameters())


def test_a_predictor_of_other_shapes_or_of_pairs_is_refused():
    with pytest.raises(ValueError, match="predictor requires an operator or a corruption"):
        Degraded(predictor=Brighter(), in_channels=1, image_size=SIDE)
    with pytest.raises(ValueError, match="must keep the shape"):
        Degraded(Average(2), predictor=Sums(), in_channels=1, image_size=SIDE)
