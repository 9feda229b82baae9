import pytest
import torch
import torch.nn.functional as F

from genmods.diffusion.prediction import Estimate
from genmods.restoration.tiles import Tiled


def tiled(denoise, size=16, **settings):
    return Tiled(lambda cond: denoise, {}, size, size, **settings)


@pytest.mark.parametrize("shape", [(16, 16), (17, 40), (5, 23), (50, 9), (64, 64)])
def test_a_pointwise_denoiser_is_unchanged(shape):
    x = torch.randn(2, 3, *shape, dtype=torch.float64)
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    estimate = tiled(lambda x, t: Estimate(x * t[:, None, None, None], x**2), batch=8)(x, t)
    assert torch.allclose(estimate.x0, x * t[:, None, None, None])
    assert torch.allclose(estimate.eps, x**2)


def test_tiles_leave_no_seams():
    """A smoothing denoiser sees the borders of its tiles; blended, its steps across tile borders are no larger than
    elsewhere."""
    kernel = torch.ones(1, 1, 5, 5, dtype=torch.float64) / 25

    def smooth(x, t):
        return Estimate(F.conv2d(F.pad(x, (2, 2, 2, 2)), kernel), x)

    x = torch.full((1, 1, 16, 80), 0.8, dtype=torch.float64)
    whole, cut = smooth(x, None).x0, tiled(smooth)(x, torch.zeros(1)).x0
    inside = (slice(None), slice(None), slice(4, 12), slice(4, 76))
    assert (whole - cut)[inside].abs().max() < 0.12
    assert (cut[inside].diff(dim=-1)).abs().max() < 0.05


def test_conditions_are_repeated_with_the_batch():
    seen = []

    def bind(cond):
        return lambda x, t: (seen.append((cond, x, t.tolist())), Estimate(x, x))[1]

    x = torch.arange(320.0).view(2, 1, 8, 20)
    Tiled(bind, {"label": torch.tensor([3, 4]), "image": -x.repeat(1, 2, 1, 1)}, 8, 8, batch=6)(x, torch.tensor([1, 2]))
    assert sum(len(tiles) for _, tiles, _ in seen) == 2 * 4
    for cond, tiles, t in seen:
        times = len(tiles) // 2
        assert len(tiles) <= 6 and t == [1, 2] * times and cond["label"].tolist() == [3, 4] * times
        assert torch.equal(cond["image"], -tiles.repeat(1, 2, 1, 1))


def test_gradients_flow_through():
    x = torch.randn(1, 1, 10, 30, dtype=torch.float64, requires_grad=True)
    estimate = tiled(lambda x, t: Estimate(x * 2, x), 8)(x, torch.zeros(1))
    assert torch.allclose(torch.autograd.grad(estimate.x0.sum(), x)[0], torch.full_like(x, 2))
