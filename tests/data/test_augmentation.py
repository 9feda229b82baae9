"""Every registered augmentation: each sample has its own randomness, from the key alone; labels stay right."""

from __future__ import annotations

import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.core.errors import UserError
from genmods.core.random import fold, uniform
from genmods.data.augmentation.adapter import TorchVision
from genmods.data.augmentation.boxes import CutMix, RandomErasing
from genmods.data.augmentation.flips import AlternatingFlip, Flip
from genmods.data.augmentation.geometry import RandomResizedCrop, Rotate, Translate
from genmods.data.augmentation.mix import MixUp, partners, symmetric_beta
from genmods.data.augmentation.sequence import augmented
from genmods.data.images import Images, to_float
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic

NAMES = sorted(BUILTINS["augmentation"])


def make(name: str):
    return imported(BUILTINS["augmentation"][name])()


def batch(n: int = 64, channels: int = 3, side: int = 12, same: bool = False, classes: int = 5) -> dict:
    index = torch.arange(n)
    images = torch.rand(1 if same else n, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {
        "image": images.expand(n, -1, -1, -1).clone(),
        "index": index,
        "epoch": torch.zeros(n, dtype=torch.int64),
        "label": torch.eye(classes)[index % classes],
    }


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_keeps_shape_range_and_the_batch_it_was_given(name, channels):
    given = batch(channels=channels)
    before = {key: value.clone() for key, value in given.items()}
    result = make(name)(given, fold(1, given["index"]))
    assert result["image"].shape == given["image"].shape and result["image"].dtype == torch.float32
    assert result["image"].min() >= -1 and result["image"].max() <= 1
    assert not torch.equal(result["image"], given["image"])
    assert all(torch.equal(given[key], before[key]) for key in before)
    torch.testing.assert_close(result["label"].sum(1), torch.ones(64))
    assert torch.equal(result["label"], given["label"]) != make(name).mixes


@pytest.mark.parametrize("name", NAMES)
def test_each_sample_has_independent_randomness(name):
    augmentation, given = make(name), batch(same=not make(name).mixes)
    image = augmentation(given, fold(1, given["index"]))["image"]
    assert len(image.flatten(1).unique(dim=0)) > (1 if "flip" in name else 16)


@pytest.mark.parametrize("name", NAMES)
def test_depends_on_the_key_alone(name):
    augmentation, given = make(name), batch()
    keys = fold(1, given["index"])
    image = augmentation(given, keys)["image"]
    torch.manual_seed(123)
    assert torch.equal(augmentation(given, keys)["image"], image)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    shuffled = augmentation({key: value[order] for key, value in given.items()}, keys[order])["image"]
    torch.testing.assert_close(shuffled, image[order], rtol=0, atol=1e-6)
    if not augmentation.mixes:
        part = augmentation({key: value[:7] for key, value in given.items()}, keys[:7])["image"]
        torch.testing.assert_close(part, image[:7], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_global_generator_alone(name):
    given = batch(8)
    state = torch.get_rng_state()
    make(name)(given, fold(1, given["index"]))
    assert torch.equal(torch.get_rng_state(), state)


def two_epochs(size: int = 16, **settings) -> list[dict]:
    """Batches of two epochs, with the choices of all augmentations."""
    source, steps = Synthetic(48, 0, side=8), [make(name) for name in NAMES]
    loader = ImageData(source, size, steps, val_fraction=0, test_fraction=0, **settings).train_dataloader()
    return [batch for _ in range(2) for batch in loader]


def by_sample(name: str, batches: list[dict]) -> dict[tuple[int, int], torch.Tensor]:
    """Each (epoch, index) of the batches with its image after an augmentation."""
    step, images = make(name), {}
    for given in batches:
        choices = given["choices"].split([make(other).num_choices for other in NAMES], dim=1)[NAMES.index(name)]
        own = {"image": given["image"].clone(), "choices": choices}
        result = augmented(given | own, [step], num_classes=4)
        where = zip(result["epoch"].tolist(), result["index"].tolist(), strict=True)
        images |= dict(zip(where, result["image"], strict=True))
    return images


@pytest.fixture(scope="module")
def batches() -> dict[int, list[dict]]:
    return {workers: two_epochs(num_workers=workers) for workers in (0, 1, 2, 4)}


@pytest.mark.parametrize("name", NAMES)
def test_number_of_workers_changes_nothing(name, batches):
    alone = by_sample(name, batches[0])
    assert len(alone) == 96
    for workers in (1, 2, 4):
        images = by_sample(name, batches[workers])
        assert images.keys() == alone.keys() and all(torch.equal(images[key], alone[key]) for key in alone)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_a_function_of_seed_epoch_and_index(name, batches):
    images = by_sample(name, batches[0])
    if not make(name).mixes:  # else the partner comes from the batch
        others = by_sample(name, two_epochs(size=12))
        assert all(torch.allclose(others[key], images[key], rtol=0, atol=1e-6) for key in images)
    assert any(not torch.equal(images[0, i], images[1, i]) for i in range(48))
    if name != "alternating_flip":  # its coin is tossed once, for all runs alike
        seeded = by_sample(name, two_epochs(seed=1))
        assert any(not torch.equal(seeded[key], images[key]) for key in images)


@pytest.mark.parametrize("name", NAMES)
def test_choices_of_an_epoch_are_those_of_each_batch(name):
    step = make(name)
    data = ImageData(Synthetic(48, 0, side=8), 16, [step], val_fraction=0, test_fraction=0, seed=5)
    for given in data.train_dataloader():
        plain = augmented(given, [], 4) | {"label": torch.nn.functional.one_hot(given["label"], 4).float()}
        alone = step(plain, fold(5, given["epoch"], given["index"]))
        assert torch.equal(augmented(given, [step], 4)["image"], alone["image"])


@pytest.mark.parametrize("name", [name for name in NAMES if make(name).moves])
def test_moving_bytes_is_moving_floats(name):
    given = batch(32) | {"image": torch.arange(256, dtype=torch.uint8).repeat(27).view(32, 3, 12, 6)}
    as_floats = given | {"image": to_float(given["image"])}
    keys = fold(1, given["index"])
    assert torch.equal(to_float(make(name)(given, keys)["image"]), make(name)(as_floats, keys)["image"])


@pytest.mark.parametrize("name", [name for name in NAMES if make(name).moves])
def test_gradients_are_moved_back(name):
    given = batch(n=16)
    change, weights = (torch.randn(given["image"].shape, generator=torch.Generator().manual_seed(k)) for k in (1, 2))

    def moved(images):
        return (make(name)(given | {"image": images}, fold(1, given["index"]))["image"] * weights).sum()

    images = given["image"].requires_grad_()
    (gradient,) = torch.autograd.grad(moved(images), images)
    with torch.no_grad():
        torch.testing.assert_close((gradient * change).sum(), moved(images + change) - moved(images), atol=1e-3, rtol=0)


def test_flip_mirrors_half_of_them():
    given = batch(1000)
    image = Flip()(given, fold(1, given["index"]))["image"]
    mirrored = (image == given["image"].flip(-1)).flatten(1).all(1)
    assert ((image == given["image"]).flatten(1).all(1) ^ mirrored).all()
    assert 430 < mirrored.sum() < 570


def test_alternating_flip_shows_both_sides_in_any_two_epochs():
    given = batch(200)
    even = AlternatingFlip()(given, given["index"])["image"]
    odd = AlternatingFlip()(given | {"epoch": given["epoch"] + 1}, given["index"])["image"]
    assert torch.equal(even, odd.flip(-1))
    assert 70 < (even == given["image"]).flatten(1).all(1).sum() < 130


@pytest.mark.parametrize("padding", ["black", "reflect"])
def test_shift_moves_by_whole_pixels_and_reaches_every_offset(padding):
    given = batch(400, side=6)
    image = Translate(1, padding)(given, fold(1, given["index"]))["image"]
    found = torch.zeros(400, dtype=torch.int64)
    for y in (-1, 0, 1):
        for x in (-1, 0, 1):
            inner = image.roll((y, x), (2, 3))[..., 1:-1, 1:-1]
            found += (inner == given["image"][..., 1:-1, 1:-1]).flatten(1).all(1).long() * (3 * y + x + 5)
    assert found.unique().tolist() == list(range(1, 10))
    assert (image == -1).any() == (padding == "black")


def test_identity_settings_change_nothing():
    given = batch()
    for step in (
        Translate(0),
        RandomResizedCrop(1.0, 1.0),
        Rotate(0.0),
        Flip(0.0),
        RandomErasing(p=0.0),
        MixUp(p=0.0),
        CutMix(p=0.0),
    ):
        result = step(given, fold(1, given["index"]))
        torch.testing.assert_close(result["image"], given["image"], rtol=0, atol=1e-5)
        assert torch.equal(result["label"], given["label"])


def test_rotation_by_a_right_angle_is_a_rotation():
    given = batch(8)
    turned = torch.stack([given["image"].rot90(k, (2, 3)) for k in (1, -1)])
    from genmods.data.augmentation.geometry import warp

    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]).expand(8, 2, 3)
    image = warp(given["image"], quarter)
    assert min((image - t).abs().max() for t in turned) < 1e-5


def test_erasing_fills_one_rectangle_of_the_requested_area():
    given = batch(500, side=20)
    erased = (RandomErasing(p=1.0, value=0.5)(given, fold(1, given["index"]))["image"] == 0.5).all(1)
    heights, widths = erased.any(2).sum(1), erased.any(1).sum(1)
    assert torch.equal(erased.sum((1, 2)), heights * widths)
    share = heights * widths / 400
    assert share.min() > 0.01 and share.max() < 0.3 and share.max() - share.min() > 0.15


def test_cutmix_labels_are_the_pixels_exactly():
    n = 300
    given = {
        "image": torch.arange(n).float().view(n, 1, 1, 1).expand(n, 1, 9, 7).clone(),
        "label": torch.eye(n),
        "index": torch.arange(n),
    }
    result = CutMix(p=0.8)(given, fold(1, given["index"]))
    pixels = torch.nn.functional.one_hot(result["image"].long().flatten(1), n).float().mean(1)
    torch.testing.assert_close(result["label"], pixels)
    mixed = (pixels > 0).sum(1) == 2
    assert 120 < mixed.sum() < 270


def test_mixup_blends_images_and_labels_alike():
    given = batch(50, classes=50)
    result = MixUp(alpha=1.0)(given, fold(1, given["index"]))
    blended = torch.einsum("bn,nchw->bchw", result["label"], given["image"])
    torch.testing.assert_close(result["image"], blended)


def test_partners_are_a_ring():
    other = partners(uniform(fold(1, torch.arange(33)), 1)[:, 0])
    assert sorted(other.tolist()) == list(range(33)) and (other != torch.arange(33)).all()
    assert partners(torch.tensor([0.5])).tolist() == [0]


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0])
def test_beta_quantiles(alpha):
    special = pytest.importorskip("scipy.special")
    u = torch.linspace(0.001, 0.999, 997)
    exact = torch.from_numpy(special.betaincinv(alpha, alpha, u.double().numpy()))
    torch.testing.assert_close(symmetric_beta(u, alpha).double(), exact, rtol=0, atol=2e-4)


def test_torchvision_transforms_are_refused_in_one_line():
    with pytest.raises(ValueError, match="did you mean 'RandomRotation'"):
        TorchVision("RandomRotatoin")
    with pytest.raises(ValueError, match="ColorJitter does not accept these settings"):
        TorchVision("ColorJitter", {"brightnes": 0.1})


@pytest.mark.parametrize(
    ("transform", "settings"),
    [
        ("ColorJitter", {"brightness": [0.5, 1.5], "hue": 0.1}),
        ("RandomAffine", {"degrees": [-10, 10], "interpolation": "bilinear"}),
        ("RandomCrop", {"size": [12, 12], "padding": 2, "padding_mode": "reflect"}),
        ("RandomResizedCrop", {"size": 12, "antialias": True}),
        ("AutoAugment", {"policy": "cifar10"}),
        ("JPEG", {"quality": [5, 50]}),
    ],
)
def test_torchvision_transforms_take_any_plain_setting(transform, settings):
    images = torch.rand(6, 3, 12, 12) * 2 - 1
    step = TorchVision(transform, settings)
    before = torch.random.get_rng_state()
    first, again, other = (step({"image": images}, torch.arange(6) + start)["image"] for start in (0, 0, 9))
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator is as it was"
    assert torch.equal(first, again) and not torch.equal(first, other) and first.shape == images.shape


@pytest.mark.parametrize(
    ("transform", "settings", "told"),
    [
        ("Normalize", {"mean": [0.5], "std": [0.1]}, r"Normalize: must return values in \[0, 1\], got -5 to 5"),
        ("ToPILImage", {}, "must return one image of torch.float32, got Image"),
        ("FiveCrop", {"size": 4}, "must return one image of torch.float32, got tuple"),
        ("MixUp", {"num_classes": 3}, "MixUp: labels should be"),
        ("RandomAffine", {"degrees": 5, "interpolation": "bilinea"}, "'bilinea' is not a valid InterpolationMode"),
        ("Lambda", {}, "missing 1 required positional argument"),
    ],
)
def test_torchvision_transforms_are_tried_when_they_are_built(transform, settings, told):
    with pytest.raises(ValueError, match=told):
        TorchVision(transform, settings)


def test_images_without_labels_are_not_blended():
    class Unlabelled(Synthetic):
        def read(self):
            return {"train": Images(torch.zeros(20, 1, 4, 4, dtype=torch.uint8))}

    data = ImageData(Unlabelled(), augment=[Flip(), MixUp(), CutMix()])
    data.setup("predict")
    with pytest.raises(UserError, match=r"data.augment: MixUp, CutMix requires labels, which these images do not have"):
        data.setup("fit")
