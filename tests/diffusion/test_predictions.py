"""Every registered prediction on every process: encode, decode, refuse."""

import pytest
import torch
from torch import nn

from genmods.config.builtins import BUILTINS
from genmods.diffusion import (
    Denoiser,
    EpsPrediction,
    Estimate,
    KarrasPrediction,
    LinearProcess,
    RectifiedProcess,
    VPrediction,
)
from genmods.diffusion.prediction import Prediction
from support.oracles import built_in, processes

PROCESSES = processes()
PAIRS = [(p, q) for p in PROCESSES for q in BUILTINS["prediction"] if (p, q) != ("rectified", "eps")]


@pytest.mark.parametrize("process, prediction", PAIRS)
def test_decode_inverts_target(process, prediction):
    process, prediction = PROCESSES[process], built_in("prediction", prediction)()
    prediction.check(process)
    generator = torch.Generator().manual_seed(0)
    t = torch.linspace(process.t_min_trained, process.t_max, 33, dtype=torch.float64)
    x0, eps = torch.randn(2, 33, 3, generator=generator, dtype=torch.float64)
    x_t = process.diffuse(x0, eps, t)
    found = prediction.decode(process, x_t, prediction.target(process, x0, eps, t), t)
    torch.testing.assert_close(found.x0, x0, rtol=1e-9, atol=1e-8)
    torch.testing.assert_close(found.eps, eps, rtol=1e-9, atol=1e-8)


def test_known_forms():
    t = torch.tensor([0.3], dtype=torch.float64)
    process = LinearProcess()
    a, b = VPrediction().coefficients(process, t)
    torch.testing.assert_close((a, b), (-process.sigma(t), process.alpha(t)))
    a, b = built_in("prediction", "flow")().coefficients(RectifiedProcess(), t)
    assert (a.item(), b.item()) == (-1, 1)
    edm, sigma_data = built_in("process", "edm")(), 0.5
    x0, eps, sigma = torch.tensor([[0.4]]).double(), torch.tensor([[-0.7]]).double(), t
    c_skip = sigma_data**2 / (sigma**2 + sigma_data**2)
    c_out = sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt()
    want = (x0 - c_skip * (x0 + sigma * eps)) / c_out
    torch.testing.assert_close(KarrasPrediction(sigma_data).target(edm, x0, eps, t), want)


def test_singular_pairs_are_refused_when_built():
    class Sum(Prediction):
        """Singular strictly inside: equivalent to x_t at t = 1/2."""

        def coefficients(self, process, t):
            return torch.full_like(t, 0.5).double(), torch.full_like(t, 0.5).double()

    for prediction in (EpsPrediction(), Sum()):
        with pytest.raises(ValueError, match="does not determine") as caught:
            Denoiser(nn.Identity(), RectifiedProcess(), prediction)
        assert "\n" not in str(caught.value)
    Denoiser(nn.Identity(), RectifiedProcess(t_max=0.999), EpsPrediction())
    with pytest.raises(ValueError, match="sigma_data"):
        KarrasPrediction(0.0)


class Constant(nn.Module):
    num_classes = 3

    def __init__(self, channels=2):
        super().__init__()
        self.channels, self.seen = channels, []

    def forward(self, x, log_snr, cond=None):
        self.seen.append((x, log_snr, cond))
        return x.new_zeros(x.shape[0], self.channels, *x.shape[2:])


@pytest.mark.parametrize("name", PROCESSES)
def test_network_sees_unit_variance_and_a_clamped_log_snr(name):
    process, network = PROCESSES[name], Constant()
    denoiser = Denoiser(network, process, VPrediction(), sigma_data=0.7)
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 20000, 2, generator=generator)
    for time in (process.t_min_trained, (process.t_min_trained + process.t_max) / 2, process.t_max):
        t = torch.full((20000,), time)
        denoiser(process.diffuse(0.7 * x0, eps, t), t)
        x, noise, _ = network.seen[-1]
        assert abs(x.std() - 1) < 0.02
        assert noise.shape == t.shape and noise.abs().max() <= 13.5


def test_images_points_and_learned_variance():
    process, t = LinearProcess(), torch.full((2,), 0.5)
    image, points = torch.randn(2, 1, 4, 4), torch.randn(2, 2)
    assert Denoiser(Constant(1), process, EpsPrediction())(image, t).x0.shape == image.shape
    assert Denoiser(Constant(2), process, EpsPrediction())(points, t).var_fraction is None
    estimate = Denoiser(Constant(2), process, EpsPrediction())(image, t)
    assert isinstance(estimate, Estimate) and torch.equal(estimate.var_fraction, torch.full_like(image, 0.5))
    with pytest.raises(ValueError, match="C or 2 C channels"):
        Denoiser(Constant(5), process, EpsPrediction())(image, t)


def test_conditions():
    network = Constant(1)
    denoiser = Denoiser(network, LinearProcess(), EpsPrediction())
    cond = {"label": torch.tensor([2, -1])}
    denoiser.conditioned(cond)(torch.zeros(2, 1, 2, 2), torch.full((2,), 0.5))
    assert network.seen[-1][2] is cond
    for label in (3, -2):
        with pytest.raises(ValueError, match=rf"label must lie in .* got {label}"):
            denoiser.conditioned({"label": torch.tensor([0, label])})
    with pytest.raises(ValueError, match="t must have shape"):
        denoiser(torch.zeros(2, 1, 2, 2), torch.tensor(0.5))
    with pytest.raises(ValueError, match="sigma_data"):
        Denoiser(network, LinearProcess(), EpsPrediction(), sigma_data=-1.0)
