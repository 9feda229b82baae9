"""Holes of a large image are filled in boxes around them: which boxes, and that nothing else changes."""

import pytest
import torch

from genmods.diffusion import CosineProcess
from genmods.models import DiffusionModel
from genmods.networks.base import Network
from genmods.restoration.holes import hole_boxes
from genmods.restoration.restorer import Restorer


def hole_of(height, width, *boxes):
    hole = torch.zeros(height, width, dtype=torch.bool)
    for top, left, bottom, right in boxes:
        hole[top:bottom, left:right] = True
    return hole


def test_a_hole_has_a_margin_of_half_an_image_around_it():
    (box,) = hole_boxes(hole_of(300, 400, (100, 200, 116, 216)), (32, 32))
    assert box.region == (slice(84, 132), slice(184, 232))
    assert box.hole.sum() == 256 and box.hole[16:32, 16:32].all()


def test_a_box_at_the_border_is_as_large_as_an_image_of_training():
    (box,) = hole_boxes(hole_of(300, 400, (0, 396, 4, 400)), (32, 32))
    assert box.region == (slice(0, 32), slice(368, 400))


def test_near_holes_share_a_box_and_distant_ones_do_not():
    near = list(hole_boxes(hole_of(300, 400, (100, 100, 110, 110), (100, 130, 110, 140)), (32, 32)))
    far = list(hole_boxes(hole_of(300, 400, (50, 50, 60, 60), (200, 300, 210, 310)), (32, 32)))
    assert len(near) == 1 and len(far) == 2
    assert sum(box.hole.sum() for box in far) == 200


def test_every_pixel_of_a_ragged_hole_is_in_one_box():
    hole = torch.rand(200, 150, generator=torch.Generator().manual_seed(0)) < 0.001
    count = torch.zeros(200, 150)
    for box in hole_boxes(hole, (16, 16)):
        count[box.region] += box.hole.float()
    assert torch.equal(count, hole.float())


class Flat(Network):
    """Estimates the mean of what it sees, and counts the pixels of each call."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, log_snr, cond=None):
        if x.device.type != "meta":
            self.seen.append(len(x) * x.shape[-2] * x.shape[-1])
        return x.mean((2, 3), keepdim=True).expand_as(x) + self.weight


@pytest.fixture
def restorer():
    from genmods import create

    process, prediction = CosineProcess(), create("prediction", "x0")
    model = DiffusionModel(Flat(), process, prediction, in_channels=3, image_size=16)
    return Restorer(model, method="repaint", steps=4)


@pytest.mark.parametrize("samples", [None, 2])
def test_known_pixels_are_bit_exact_and_each_hole_is_filled(restorer, samples):
    images = torch.rand(2, 3, 120, 90, generator=torch.Generator().manual_seed(1)) * 2 - 1
    hole = torch.stack([hole_of(120, 90, (10, 10, 16, 16)), hole_of(120, 90, (10, 10, 16, 16), (80, 60, 90, 70))])
    filled = restorer.inpaint(images, hole, samples=samples)
    known = (~hole[:, None]).expand_as(images)
    for one in [filled] if samples is None else filled:
        assert torch.equal(one[known], images[known])
        assert (one != images)[hole[:, None].expand_as(images)].float().mean() > 0.99


@pytest.mark.parametrize("sigma", [torch.zeros(4), torch.tensor([0.0, 0.2, 0.0, 0.0])])
def test_an_image_is_the_same_alone_and_in_a_batch(restorer, sigma):
    images = torch.rand(4, 3, 60, 48, generator=torch.Generator().manual_seed(2)) * 2 - 1
    corner, other, large = (10, 10, 14, 14), (50, 40, 54, 44), (5, 5, 55, 44)
    hole = torch.stack([hole_of(60, 48, *boxes) for boxes in ([corner], [corner, other], [large], [])])
    together = restorer.inpaint(images, hole, sigma)
    for k in range(4):
        alone = restorer.inpaint(images[k : k + 1], hole[k : k + 1], sigma[k : k + 1], numbers=torch.tensor([k]))
        torch.testing.assert_close(together[k : k + 1], alone)


def test_the_cost_is_that_of_the_hole(restorer):
    images = torch.zeros(1, 3, 400, 600)
    restorer.inpaint(images, hole_of(400, 600, (100, 100, 108, 108)))
    calls = restorer.model.denoiser.network.seen
    assert (
        max(calls) <= 16 * 24 * 24
    )  # of the 24 x 24 pixels around the hole, in overlapping tiles; the image has 240,000
