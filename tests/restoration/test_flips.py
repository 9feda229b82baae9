"""The mean over flips: exact for a network that does not commute with them, and refused where it has no meaning."""

import pytest
import torch

from genmods.core.errors import UserError
from genmods.networks.base import Network
from genmods.restoration import Average, Flipped, Restorer
from genmods.restoration.network import RestorationNetwork


class Ramp(Network):
    """Adds the place of a pixel along each axis, and half of the standard deviation that it receives per pixel."""

    def forward(self, x, log_snr, cond=None):
        rows, columns = (torch.linspace(-0.1, 0.2, side, device=x.device) for side in x.shape[2:])
        found = (rows[:, None] + columns).expand_as(x)
        return found + 0.5 * cond["image"] if cond else found


def model(level="blind", **settings):
    return RestorationNetwork(Ramp(), level=level, in_channels=1, image_size=6, **settings)


def test_the_mean_of_the_estimates_for_four_flips():
    y = 0.3 * torch.randn(2, 1, 4, 6, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    done = []
    found = Restorer(Flipped(model())).denoise(y, 0.1, progress=lambda *count: done.append(count))
    torch.testing.assert_close(found, y + 0.1)  # the mean of a ramp and its mirror images is constant: 2 x 0.05
    std = torch.rand(2, 1, 4, 6, generator=torch.Generator().manual_seed(1)) / 5
    torch.testing.assert_close(Flipped(model("map")).restored(y, std), y + 0.1 + 0.5 * std)
    assert not torch.allclose(model().restored(y), y + 0.1)


def test_other_models_are_refused():
    for wrong in (model(operator=Average(2)), torch.nn.Identity()):
        with pytest.raises(UserError, match="flips require a restoration network that denoises"):
            Flipped(wrong)
