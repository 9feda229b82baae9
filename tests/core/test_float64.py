"""Nothing makes float64 on a device that has none, and what is computed there is what the CPU computes."""

from copy import deepcopy
from functools import cache

import pytest
import torch

from genmods import create
from genmods.callbacks.loss_by_noise import LossByNoise
from genmods.config.builtins import BUILTINS
from genmods.core.devices import float64_device, has_float64, to_float64
from genmods.data.augmentation.mix import symmetric_beta
from genmods.diffusion import Denoiser, DiffusionLoss, likelihood, noise_stream
from genmods.diffusion.guidance import ClassifierGuidance, Interval, Threshold
from genmods.metrics.frechet import frechet_distance, kernel_distance
from genmods.metrics.neighbors import knn_accuracy
from genmods.metrics.scores import inception_score, share_inside
from genmods.metrics.statistics import gaussian_statistics
from genmods.models.temperature import fit_temperature
from genmods.networks.airbench import whitening
from genmods.restoration.corrupted import denoise_corruption
from genmods.restoration.denoising import denoise, denoise_samples, noise_level
from genmods.restoration.restore import restore
from support import no_float64
from support.no_float64 import OnDevice

PROCESSES, SAMPLERS = list(BUILTINS["process"]), list(BUILTINS["sampler"])


class Tiny(torch.nn.Module):
    """A denoising network of one convolution."""

    num_classes, two_times = 3, True

    def __init__(self, outputs=1):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(1, outputs, 3, padding=1)

    def forward(self, x, noise, cond=None):
        return self.layer(x) * (noise / 20).tanh()[:, None, None, None]


@cache  # modules are made once, and a copy of each is moved to the device
def denoiser(process="cosine", prediction="v", **settings):
    return Denoiser(Tiny(), create("process", process, **settings), create("prediction", prediction), 0.5)


def images(seed=0):
    return torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def noise(place):
    return noise_stream(0, place(torch.arange(2)), (1, 8, 8))


def prior(place):
    return place(denoiser()).conditioned({})


def on_both(run):
    """`run(place)` on the CPU and on the device; `place` moves a module or a tensor there."""
    expected = run(lambda thing: thing)
    with no_float64.device() as device:
        found = run(lambda thing: deepcopy(thing).to(device))
    torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=1e-4)
    return found


def test_the_device_is_without_float64():
    with no_float64.device() as device:
        assert not has_float64(device) and float64_device(device).type == "cpu"
        x = torch.ones(3, device=device)
        assert isinstance(x, OnDevice) and x.device == device and to_float64(x).device.type == "cpu"
        for wide in (lambda: x.double(), lambda: torch.zeros(2, dtype=torch.float64, device=device)):
            with pytest.raises(TypeError, match="without float64"):
                wide()
        with pytest.raises(TypeError, match="without float64"):
            torch.ones(3, dtype=torch.float64).to(device)
        with pytest.raises(RuntimeError, match="of the CPU"):
            x + torch.ones(3)
        y = x.requires_grad_() * 2
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert gradient.device == device and gradient.tolist() == [2, 2, 2]


@pytest.mark.parametrize("process", PROCESSES)
def test_losses_and_their_gradients(process):
    shift = PROCESSES.index(process)  # over all processes every weighting meets every density
    weightings = list(BUILTINS["weighting"])
    for number, density in enumerate(BUILTINS["density"]):
        weighting = weightings[(shift + number) % len(weightings)]

        def gradient(place, density=density, weighting=weighting):
            model = place(deepcopy(denoiser(process)))
            model.process.requires_grad_(False)
            criterion = place(DiffusionLoss(create("density", density), create("weighting", weighting)))
            u, eps = place(torch.tensor([0.2, 0.7])), place(images(1))
            loss = criterion(model, place(images()), u=u, eps=eps).per_sample.mean()
            return torch.autograd.grad(loss, model.network.layer.weight)[0]

        on_both(gradient)


def test_the_gradient_of_a_learned_schedule():
    def gradient(place):
        model = place(denoiser("learned"))
        u, eps = place(torch.tensor([0.2, 0.7])), place(images(1))
        loss = DiffusionLoss(weighting=create("weighting", "elbo"))(model, place(images()), u=u, eps=eps)
        return torch.autograd.grad(loss.per_sample.mean(), model.process.height)[0]

    on_both(gradient)


def test_the_loss_of_a_learned_variance():
    def loss(place):
        model = place(Denoiser(Tiny(2), create("process", "cosine", steps=20), create("prediction", "eps")))
        u, eps = place(torch.tensor([0.01, 0.7])), place(images(1))
        return DiffusionLoss()(model, place(images()), u=u, eps=eps).per_sample

    on_both(loss)


@pytest.mark.parametrize(
    ("process", "sampler"),
    [("rectified" if name == "flow_ode" else "cosine", name) for name in SAMPLERS]
    + [(name, "ddim") for name in PROCESSES],
)
def test_sampling(process, sampler):
    def sample(place):
        model = place(denoiser(process)).conditioned({"label": place(torch.tensor([0, 2]))})
        return create("sampler", sampler, steps=4).sample(model, noise(place))

    on_both(sample)


@pytest.mark.parametrize("prediction", list(BUILTINS["prediction"]))
def test_predictions_and_discrete_levels(prediction):
    def sample(place):
        model = place(denoiser("cosine", prediction, steps=20, log_snr_min=-9))
        return create("sampler", "unipc", steps=4).sample(model, noise(place))

    on_both(sample)


@pytest.mark.parametrize(("settings", "times"), [({}, 2), ({"process": "learned"}, 2), ({"steps": 5}, None)])
def test_the_likelihood_bound(settings, times):
    def bound(place):
        return likelihood.bound_bits_per_dim(place(denoiser(**settings)), place(images()), num_times=times).total

    assert on_both(bound).dtype == torch.float64


def test_the_likelihood_by_the_flow():
    def bits(place):
        indices = place(torch.arange(2))
        return likelihood.flow_bits_per_dim(place(denoiser()), place(images()), steps=1, indices=indices)

    on_both(bits)


GUIDES = {
    "threshold": lambda model: Threshold(model),
    "interval": lambda model: Interval(model, model, 0.1, 1.0),
    "classifier": lambda model: ClassifierGuidance(model, lambda x, t: -x.square().flatten(1).sum(1)),
}


@pytest.mark.parametrize("guide", GUIDES)
def test_guidance(guide):
    def sample(place):
        guided = GUIDES[guide](place(denoiser()))
        return create("sampler", "ddim", steps=4).sample(guided, noise(place))

    on_both(sample)


@pytest.mark.parametrize("method", list(BUILTINS["method"]))
def test_restoration_by_every_method(method):
    masks = ["box"] if method in ("replacement", "repaint") else ["box", "gaussian_blur", "bicubic"]
    for operator in masks:

        def restored(place, operator=operator):
            one = create("operator", operator)
            return restore(one(place(images())), one, prior(place), create("method", method, steps=4))

        on_both(restored)


def test_every_operator():
    for name in set(BUILTINS["operator"]) - {"chain"}:

        def inverse(place, name=name):
            x = place(images()).expand(-1, 3, -1, -1)
            one = create("operator", name)
            return one.pinv(one(x))

        on_both(inverse)


@pytest.mark.parametrize(
    "corruption", sorted(set(BUILTINS["corruption"]) - {"uniform_range", "chain", "random_choice"})
)
def test_denoising(corruption):
    def denoised(place):
        kind = create("corruption", corruption)
        y = kind(place(images()), torch.arange(2))
        return denoise_corruption(y, prior(place), kind, samples=1, steps=3)

    on_both(denoised)


def test_noise_levels_and_draws():
    def drawn(place):
        model, y = prior(place), place(images())
        few = create("sampler", "dpmpp_2m_sde", steps=3)
        return denoise_samples(y, model, noise_level(y, model), samples=2, sampler=few) + denoise(y, model, 0.2)

    on_both(drawn)


def test_metrics_and_what_is_fitted():
    features = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))

    def found(place):
        some, labels = place(features), place(torch.arange(40) % 3)
        statistics = gaussian_statistics(some)
        values = [
            frechet_distance(statistics, gaussian_statistics(some + 1)),
            kernel_distance(some, some + 1),
            inception_score(some.softmax(1)),
            share_inside(some, some + 0.1),
            knn_accuracy(some, labels, some + 0.1, labels),
            fit_temperature(some, labels),
        ]
        filters, bias = whitening(place(images()), 2)
        return torch.cat([torch.tensor(values), filters.abs().sum().cpu()[None], bias.abs().sum().cpu()[None]])

    on_both(found)


def test_mixed_images():
    on_both(lambda place: symmetric_beta(place(torch.tensor([0.1, 0.5, 0.9])), 0.4))


def test_the_loss_by_noise_level():
    loss = DiffusionLoss()(denoiser(), images())

    def sums(place):
        callback = LossByNoise()
        callback.on_train_batch_end(None, None, {"error": place(loss.error), "log_snr": place(loss.log_snr)})
        return callback._sums

    assert on_both(sums).dtype == torch.float64
