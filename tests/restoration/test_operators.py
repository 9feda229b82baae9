import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.restoration.operators import (
    Average,
    Bicubic,
    BoxMask,
    Compose,
    Diagonal,
    GaussianBlur,
    Grayscale,
    Identity,
    Mask,
    RandomMask,
    StripeMask,
)


def registered():
    for name, path in BUILTINS["operator"].items():
        yield pytest.param(imported(path)(), id=name)


OPERATORS = [
    *registered(),
    pytest.param(Compose([GaussianBlur(0.7), Average(2)]), id="blur+average"),
    pytest.param(Compose([Average(2), RandomMask(0.4), Grayscale()]), id="average+mask+grayscale"),
    pytest.param(Compose([GaussianBlur(0.6), StripeMask(4, 1)]), id="blur+stripes"),
    pytest.param(Bicubic(3), id="bicubic3"),
    pytest.param(Diagonal(torch.rand(2, 3, 12, 6, dtype=torch.float64)), id="diagonal"),
]


def images(seed=0):
    return torch.randn(2, 3, 12, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("operator", OPERATORS)
def test_adjoint_and_pseudo_inverse(operator):
    x = images()
    y = operator(x)
    other = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose((y * other).sum(), (x * operator.adjoint(other)).sum(), rtol=0, atol=1e-10)
    assert torch.allclose(operator(operator.pinv(y)), y, rtol=0, atol=1e-10)
    inverse = operator.pinv(other)
    assert torch.allclose(operator.pinv(operator(inverse)), inverse, rtol=1e-9, atol=1e-8)
    residual = other - operator(inverse)
    assert operator.adjoint(residual).abs().max() < 1e-8  # least squares: the residual is orthogonal to the range


@pytest.mark.parametrize("name", BUILTINS["operator"])
def test_operators_with_equal_settings_are_equal(name):
    cls = imported(BUILTINS["operator"][name])
    assert cls() == cls()


@pytest.mark.parametrize("operator", OPERATORS)
def test_spectral_solves_the_regularised_system(operator):
    y = operator(images())
    z = operator.spectral(y, lambda s: 1 / (2 * s + 0.3))
    assert torch.allclose(2 * operator(operator.adjoint(z)) + 0.3 * z, y, rtol=0, atol=1e-10)


@pytest.mark.parametrize("operator", OPERATORS)
def test_filter_is_a_spectral_filter(operator):
    """V g Vᵀ with g = 0 on seen directions is the projection onto the null space of A."""
    x = images()
    unseen = operator.filter(x, lambda s: (s == 0).to(s))
    assert operator(unseen).abs().max() < 1e-9
    assert torch.allclose(x - unseen, operator.pinv(operator(x)), rtol=0, atol=1e-9)


def test_what_an_operator_computes_for_a_size_is_cached():
    class Counted(GaussianBlur):
        made = 0

        def kernel(self):
            self.made += 1
            return super().kernel()

    blur, x = Counted(0.8), images()
    with torch.inference_mode():
        blur(x)
    torch.testing.assert_close(blur(x), GaussianBlur(0.8)(x))
    blur(x.clone().requires_grad_()).sum().backward()  # what was kept in inference mode may be part of a gradient
    assert blur.made == 1
    for _ in range(2):
        torch.testing.assert_close(blur(x[..., :5].float()), GaussianBlur(0.8)(x[..., :5].float()))
    assert blur.made == 2 and len(blur._known) == 1, "of one size at a time"


def test_rows_select_the_mask_of_each_image():
    known = torch.rand(5, 1, 12, 6) > 0.5
    x = torch.randn(5, 3, 12, 6)
    picked = torch.tensor([3, 3, 0])
    assert torch.equal(Mask(known).rows(picked)(x[picked]), Mask(known)(x)[picked])
    chain = Compose([Identity(), Mask(known)])
    assert torch.equal(chain.rows(picked)(x[picked]), Mask(known)(x)[picked])


def test_average_and_bicubic_keep_a_constant_image():
    x = torch.full((1, 1, 12, 12), 0.3, dtype=torch.float64)
    for operator in (Average(3), Bicubic(3), GaussianBlur(1.3)):
        assert torch.allclose(operator(x), torch.tensor(0.3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (lambda x: Mask(torch.ones(5, 5))(x), "pixels .height x width., got 5x5"),
        (lambda x: BoxMask(4, 4, 20, 20)(x), "box must fit into the image"),
        (lambda x: Average(5)(x), "must be multiples of 5"),
        (lambda x: Grayscale()(x[:, :1]), "3 channels"),
        (lambda x: RandomMask(1.5), "fraction must be at most 1, got 1.5"),
        (lambda x: StripeMask(2, 2), "width must be less than period = 2, got 2"),
        (lambda x: GaussianBlur(0.0), "sigma must be above 0"),
    ],
)
def test_mistakes_are_one_clear_line(broken, line):
    with pytest.raises(ValueError, match=line) as error:
        broken(images())
    assert "\n" not in str(error.value)
