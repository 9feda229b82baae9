"""Networks that restore in one call: what they are given, tiles, and the diffusion denoiser that they are."""

import pytest
import torch
from torch import nn

from genmods.core.errors import UserError
from genmods.diffusion import CosineProcess, EDMProcess
from genmods.networks.base import Network
from genmods.networks.plain_unet import GainResidualBlock, PlainUNet
from genmods.restoration.corruption import GaussianNoise
from genmods.restoration.denoising import denoise, noise_level
from genmods.restoration.local import regions
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.operators import Average, BoxMask, GaussianBlur, Grayscale, Identity
from genmods.restoration.restorer import Restorer

S = 0.4


class Wiener(Network):
    """The exact estimate of white Gaussian data of standard deviation S, as what is added to a noisy image."""

    def forward(self, x, log_snr, cond=None):
        variance = cond["image"].square() if cond else (-log_snr).exp().view(-1, 1, 1, 1)
        return -x * variance / (S**2 + variance)


def live(network):
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return network.eval()


def images(n=4, side=24):
    return S * torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("level", ["known", "map"])
def test_a_network_with_the_noise_level_is_the_exact_estimate(level):
    model = RestorationNetwork(Wiener(), level=level)
    y = images()
    std = torch.tensor([0.1, 0.2, 0.4, 0.8]).view(4, 1, 1, 1)
    torch.testing.assert_close(model(y, std), y * S**2 / (S**2 + std**2))


def test_a_map_holds_noise_that_differs_by_pixel():
    std = torch.linspace(0.1, 0.5, 24).expand(4, 3, 24, 24)
    y = images()
    torch.testing.assert_close(RestorationNetwork(Wiener(), level="map")(y, std), y * S**2 / (S**2 + std.square()))


def test_the_noise_has_to_be_given_unless_the_network_is_blind():
    with pytest.raises(ValueError, match="standard deviation of the noise"):
        RestorationNetwork(Wiener(), level="known")(images())
    assert RestorationNetwork(Wiener(), level="blind")(images()).shape == (4, 3, 24, 24)


def test_noise_below_the_rounding_of_8_bits_is_given_as_rounding():
    class LogSNR(Network):
        def forward(self, x, log_snr, cond=None):
            return log_snr.view(-1, 1, 1, 1).expand_as(x)

    model, y = RestorationNetwork(LogSNR(), level="known"), torch.zeros(3, 3, 8, 8)
    log_snr = model(y, torch.tensor([0.0, 1e-5, 0.1]).view(3, 1, 1, 1))[:, 0, 0, 0]
    image = 2 * torch.rand(100_000) - 1
    error = (((image + 1) * 127.5).round() / 127.5 - 1 - image).var()
    torch.testing.assert_close(log_snr, -torch.stack([error, error, torch.tensor(0.01)]).log(), rtol=2e-3, atol=0)


@pytest.mark.parametrize("size", [10.0, 1000.0])
def test_no_noise_level_multiplies_the_response_of_the_plain_network_by_more_than_two_per_block(size):
    block = GainResidualBlock(4, 8)
    nn.init.normal_(block.modulation.weight[:4])
    seen = []
    block.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].abs().sum()))
    x = torch.randn(2, 4, 6, 6)
    block(x, size * torch.randn(2, 8))
    assert 0 < seen[0] <= 2 * block.first(x).abs().sum()


def test_an_operator_is_undone_first():
    class Nothing(Network):
        def forward(self, x, log_snr, cond=None):
            return torch.zeros_like(x)

    x = images()
    y = RestorationNetwork(Nothing(), Average(2)).degrade(x, torch.arange(4))
    assert y.shape == (4, 3, 12, 12)
    torch.testing.assert_close(RestorationNetwork(Nothing(), Average(2))(y), Average(2).pinv(y))


@pytest.mark.parametrize("process", [EDMProcess(), CosineProcess()])
def test_it_is_the_exact_diffusion_denoiser_of_any_process(process):
    denoiser = RestorationNetwork(Wiener(), level="known").denoiser(process)
    times = torch.linspace(0.2, 0.9, 4, dtype=torch.float64) * process.t_max
    x_t = images().double()
    alpha, sigma = (value.view(-1, 1, 1, 1) for value in (process.alpha(times), process.sigma(times)))
    estimate = denoiser(x_t, times)
    torch.testing.assert_close(estimate.x0, alpha * S**2 * x_t / (alpha**2 * S**2 + sigma**2))
    torch.testing.assert_close(alpha * estimate.x0 + sigma * estimate.eps, x_t)


def test_a_network_that_is_not_a_diffusion_denoiser_is_refused():
    for model in (RestorationNetwork(Wiener()), RestorationNetwork(Wiener(), Average(2), level="known")):
        with pytest.raises(UserError, match="require a diffusion model"):
            model.denoiser(EDMProcess())


def test_denoising_calls_it_once_with_the_level_given():
    model = RestorationNetwork(Wiener(), level="known")
    y = images() * 0.5
    torch.testing.assert_close(denoise(y, model, 0.2), (y * S**2 / (S**2 + 0.04)).clamp(-1, 1))
    noisy = torch.zeros(1, 3, 64, 64) + 0.1 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert abs(noise_level(noisy, model) - 0.1) < 0.01


@pytest.mark.parametrize("level", ["blind", "known", "map"])
@pytest.mark.parametrize("size", [(150, 333), (97, 64)])
def test_tiles_are_exactly_the_whole_image(monkeypatch, level, size):
    network = PlainUNet(3, 8, (1, 2), 1, 2, cond_channels=3 * (level == "map"))
    model = RestorationNetwork(live(network), level=level).double()
    y = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    std = torch.linspace(0.1, 0.3, 2 * size[1], dtype=torch.float64).view(2, 1, 1, -1)
    whole = model.restored(y, std)
    monkeypatch.setattr("genmods.restoration.network.LARGE", 1000)
    monkeypatch.setattr("genmods.restoration.network.TILE", 48)
    torch.testing.assert_close(model.restored(y, std), whole, atol=1e-12, rtol=0)
    assert (whole - y).abs().max() > 1e-3


def test_a_pixel_sees_no_further_than_the_margin():
    network = live(PlainUNet(1, 8, (1, 2), 1, 2)).double()
    x = torch.zeros(1, 1, 128, 128, dtype=torch.float64, requires_grad=True)
    network(x, torch.zeros(1))[0, 0, 64, 64].backward()
    rows, columns = x.grad[0, 0].nonzero().T
    reach = max((rows - 64).abs().max(), (columns - 64).abs().max())
    assert network.margin // 2 < reach <= network.margin


def test_regions_cover_every_pixel_once():
    count = torch.zeros(70, 51)
    for _, _, place in regions(70, 51, 16, 8):
        count[place] += 1
    assert (count == 1).all()


def test_a_corruption_computes_its_strength():
    x = images()
    model = RestorationNetwork(Wiener(), corruption=GaussianNoise(51))
    y, std = model.degrade(x, torch.arange(4)), model.noise_std(x, torch.arange(4))
    assert torch.equal(std, torch.full_like(x, 0.4)) and abs((y - x).std() - 0.4) < 0.02


def test_a_restorer_calls_it_once():
    model = RestorationNetwork(Wiener(), level="known")
    y = images() * 0.5
    gain = S**2 / (S**2 + torch.tensor([0.1, 0.2, 0.3, 0.4]) ** 2).view(4, 1, 1, 1)
    torch.testing.assert_close(Restorer(model).denoise(y, torch.tensor([0.1, 0.2, 0.3, 0.4])), y * gain)
    torch.testing.assert_close(Restorer(model).denoise(y, corruption=GaussianNoise(25.5)), y * S**2 / (S**2 + 0.04))


@pytest.mark.parametrize("level", ["known", "map", "blind"])
def test_restore_estimates_an_unknown_level_as_denoise_does(level):
    """Per pixel, where the noise depends on the brightness."""
    x = torch.linspace(-0.8, 0.8, 96).expand(2, 3, 96, 96)
    y = x + (0.02 + 0.05 * (x + 1)) * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    restorer = Restorer(RestorationNetwork(Wiener(), level=level))
    assert torch.equal(restorer.restore(y, sigma="auto"), restorer.denoise(y))


def test_a_restorer_inverts_the_operator_that_it_was_trained_for_and_no_other():
    model = RestorationNetwork(Wiener(), Average(2))
    y = Average(2)(images() * 0.3)
    torch.testing.assert_close(Restorer(model).restore(y, Average(2)), model.restored(y))
    for call in (
        lambda: Restorer(model).restore(y, GaussianBlur(sigma=1.0)),
        lambda: Restorer(model).inpaint(y, BoxMask(1, 1, 2, 2)),
    ):
        with pytest.raises(UserError, match="in one call"):
            call()
    with pytest.raises(UserError, match=r"trained for the operator .*; use restore"):
        Restorer(model).denoise(y, 0.1, samples=2)


@pytest.mark.parametrize(("make", "level"), [(Grayscale, "blind"), (Identity, "blind"), (Identity, "known")])
def test_a_restorer_inverts_an_equal_operator_in_one_call(make, level):
    model = RestorationNetwork(Wiener(), make(), level=level)
    y = make()(images() * 0.3)
    torch.testing.assert_close(Restorer(model).restore(y, make(), 0.2), model.restored(y, torch.full_like(y, 0.2)))


def test_one_with_the_noise_level_also_inpaints_and_samples():
    model = RestorationNetwork(Wiener(), level="known")
    y = images(2, 16)
    filled = Restorer(model, steps=8).inpaint(y.clamp(-1, 1), BoxMask(4, 4, 8, 8))
    assert torch.equal(filled[..., :4, :], y.clamp(-1, 1)[..., :4, :]) and filled[..., 6:10, 6:10].std() > 0.2
    assert Restorer(model, steps=4).denoise(y * 0.3, 0.2, samples=3).shape == (3, 2, 3, 16, 16)
