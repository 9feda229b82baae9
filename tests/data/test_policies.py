"""TrivialAugment and RandAugment: each operation against torchvision's, and how they are drawn."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional

from genmods.core.random import fold
from genmods.data.augmentation import operations
from genmods.data.augmentation.operations import OPERATIONS, Strengths, operate
from genmods.data.augmentation.policies import RandAugment, TrivialAugment

MOST = Strengths(shear=0.3, translate=0.25, degrees=90.0, factor=0.9, bits=4)


def pictures(n=6, channels=3, height=16, width=12):
    """uint8 images with few dark and many light pixels."""
    values = torch.rand(n, channels, height, width, generator=torch.Generator().manual_seed(0)).sqrt()
    return (values * 220 + 10).to(torch.uint8)


PEERS = {
    "brightness": lambda image, s: functional.adjust_brightness(image, 1 + 0.9 * s),
    "saturation": lambda image, s: functional.adjust_saturation(image, 1 + 0.9 * s),
    "contrast": lambda image, s: functional.adjust_contrast(image, 1 + 0.9 * s),
    "sharpness": lambda image, s: functional.adjust_sharpness(image, 1 + 0.9 * s),
    "posterize": lambda image, s: functional.posterize(image, 8 - round(4 * abs(s))),
    "solarize": lambda image, s: functional.solarize(image, 255 * (1 - abs(s))),
    "autocontrast": lambda image, s: functional.autocontrast(image),
    "equalize": lambda image, s: functional.equalize(image),
}


@pytest.mark.parametrize("name", PEERS)
def test_colors_are_those_of_torchvision(name):
    images, strength = pictures(), torch.tensor([-1.0, -0.6, 0.0, 0.3, 0.75, 1.0])
    operation = torch.full((6,), OPERATIONS.index(name))
    ours = operate(images / 255, operation, strength, MOST) * 255
    theirs = torch.stack([PEERS[name](image, s) for image, s in zip(images, strength.tolist(), strict=True)])
    assert (ours - theirs.float()).abs().max() < (
        0.01 if name in ("posterize", "equalize") else 2.0
    )  # torchvision truncates


def test_an_image_of_one_color_survives_autocontrast_and_equalize():
    flat = torch.full((1, 3, 8, 8), 0.4)
    for change in (operations.autocontrast, operations.equalize):
        torch.testing.assert_close(change(flat, torch.ones(1)), flat)


def test_moves_are_shears_shifts_and_rotations():
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def moved(name, strength, most=MOST):
        return operate(image, torch.tensor([OPERATIONS.index(name)]), torch.tensor([strength]), most)

    torch.testing.assert_close(moved("rotate", 1.0), image.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved("translate_x", 1.0)[..., :-2], image[..., 2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved("translate_y", -1.0)[..., 2:, :], image[..., :-2, :], rtol=0, atol=1e-5)
    slope = Strengths(2 / 7, 0, 0, 0, 0)  # the row at 3.5 pixels from the middle moves by one pixel
    sheared = moved("shear_x", 1.0, slope)
    torch.testing.assert_close(sheared[..., 7, :-1], image[..., 7, 1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(sheared[..., 0, 1:], image[..., 0, :-1], rtol=0, atol=1e-5)
    assert torch.equal(moved("identity", 1.0), image)


def test_every_operation_and_both_signs_are_drawn_equally_often(monkeypatch):
    seen = []
    from genmods.data.augmentation import policies

    monkeypatch.setattr(policies, "operate", lambda images, *drawn: seen.append(drawn) or images)
    batch, keys = {"image": torch.zeros(7000, 1, 4, 4)}, fold(0, torch.arange(7000))
    TrivialAugment()(batch, keys)
    RandAugment(num_ops=3, magnitude=15)(batch, keys)
    assert len(seen) == 4
    for operation, strength, _ in seen:
        assert ((operation.bincount(minlength=14) - 500).abs() < 100).all()
        assert abs(int((strength < 0).sum()) - int((strength > 0).sum())) < 300
    assert len((seen[0][1].abs() * 30).round().unique()) == 31 and seen[1][1].abs().unique().tolist() == [0.5]
    assert not torch.equal(seen[1][0], seen[2][0])


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"num_ops": 0}, "num_ops must be at least 1, got 0"), ({"magnitude": 31}, "magnitude must be .*30, got 31")],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ValueError, match=line):
        RandAugment(**settings)
