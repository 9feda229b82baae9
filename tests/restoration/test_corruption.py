import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.restoration.corruption import GaussianNoise, Jpeg, PoissonNoise, SaltAndPepper, SpeckleNoise


def registered():
    for name, path in BUILTINS["corruption"].items():
        if not path.startswith("genmods.restoration.mixtures"):
            yield pytest.param(imported(path)(), id=name)


@pytest.mark.parametrize("corruption", registered())
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_depends_on_its_key_alone_and_keeps_its_shape(corruption, channels):
    x = torch.rand(4, channels, 10, 9) * 2 - 1
    keys = torch.arange(4)
    y = corruption(x, keys)
    assert y.shape == x.shape and y.dtype == x.dtype and not torch.equal(x, y)
    assert torch.equal(y[2:], corruption(x[2:], keys[2:]))
    assert torch.equal(corruption.std(x).isfinite(), torch.ones_like(x, dtype=torch.bool))
    assert corruption.std(x).min() > 0


@pytest.mark.parametrize("corruption", [GaussianNoise(20), PoissonNoise(40), SpeckleNoise(0.3), SaltAndPepper(0.2)])
@pytest.mark.parametrize("level", [-0.5, 0.0, 0.7])
def test_std_is_the_root_mean_square_change(corruption, level):
    x = torch.full((40, 1, 50, 50), level, dtype=torch.float64)
    measured = (corruption(x, torch.arange(40)) - x).square().mean().sqrt()
    assert abs(measured / corruption.std(x).mean() - 1) < 0.02


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianNoise(-1),
        lambda: PoissonNoise(0),
        lambda: SpeckleNoise(-1),
        lambda: SaltAndPepper(1),
        lambda: Jpeg(0),
    ],
)
def test_levels_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()
