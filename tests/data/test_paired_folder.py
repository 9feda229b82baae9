"""Paired folders: partners by name, the same movement for both images, and pairs that are incomplete."""

import pytest
import torch
from PIL import Image

from genmods.core.errors import UserError
from genmods.data.augmentation.flips import Flip
from genmods.data.module import ImageData
from genmods.data.sources.paired_folder import PairedFolder


def write(path, level, size=(12, 8)):
    """A ramp whose negative is the ramp of the other image of the pair, at the corner marked with `level`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.linear_gradient("L").rotate(90).resize(size)
    image = image.point(lambda v: 255 - v) if path.parts[-2] == "input" else image
    image.putpixel((0, 0), level)
    image.save(path)


@pytest.fixture
def root(tmp_path):
    for k in range(10):
        write(tmp_path / "input" / f"{k}.png", 10 * k)
        write(tmp_path / "target" / f"{k}.bmp", 10 * k + 5)
    return tmp_path


def test_partners_have_the_same_name(root):
    images = PairedFolder(str(root)).read()["train"]
    assert images.pixels.shape == images.paired.shape == (10, 1, 8, 12)
    assert images.paired[:, 0, 0, 0].tolist() == [10 * k for k in range(10)]
    assert images.pixels[:, 0, 0, 0].tolist() == [10 * k + 5 for k in range(10)]
    assert images.names[3] == "target/3.bmp"
    part = images.select(torch.tensor([4, 2]))
    assert part.paired[:, 0, 0, 0].tolist() == [40, 20] and part.pixels[:, 0, 0, 0].tolist() == [45, 25]


def test_splits_from_folders_and_held_out(root, tmp_path_factory):
    splits = ImageData(PairedFolder(str(root)), val_fraction=0.2, test_fraction=0.1).splits
    assert {name: len(images) for name, images in splits.items()} == {"train": 7, "val": 2, "test": 1}
    for images in splits.values():
        assert torch.equal(images.pixels[:, 0, 0, 0].int(), images.paired[:, 0, 0, 0].int() + 5)
    other = tmp_path_factory.mktemp("splits")
    for split, count in {"train": 3, "validation": 2}.items():
        for k in range(count):
            write(other / split / "input" / "deep" / f"{k}.png", k)
            write(other / split / "target" / "deep" / f"{k}.png", k)
    read = PairedFolder(str(other), channels=3).read_at(8)
    assert {name: tuple(images.paired.shape) for name, images in read.items()} == {
        "train": (3, 3, 8, 8),
        "val": (2, 3, 8, 8),
    }


def test_both_images_of_a_pair_are_moved_alike(root):
    data = ImageData(PairedFolder(str(root)), augment=[Flip()], val_fraction=0, test_fraction=0)
    batch = data.seen(torch.arange(10), 1)
    image, paired = batch["image"], batch["paired"]
    assert image.dtype == paired.dtype == torch.float32 and image.shape == paired.shape == (10, 1, 8, 12)
    flipped = image[:, 0, 4, 0] > image[:, 0, 4, -1]
    assert 0 < flipped.sum() < 10
    torch.testing.assert_close(paired[:, :, 4], -image[:, :, 4], atol=0.01, rtol=0)


def test_colours_of_a_pair_are_not_changed(root):
    from genmods.data.augmentation.color import ColorJitter

    with pytest.raises(UserError, match="paired images can only be moved, got ColorJitter"):
        ImageData(PairedFolder(str(root), channels=3), augment=[ColorJitter()]).setup("fit")


def test_incomplete_pairs_are_named(root):
    (root / "target" / "7.bmp").unlink()
    with pytest.raises(UserError, match=r"input/7.png: there is no image of this name in .*target \(1 image without"):
        PairedFolder(str(root)).read()
    with pytest.raises(UserError, match="must contain the folders input and target"):
        PairedFolder(str(root / "input")).read()
    with pytest.raises(UserError, match="there is no folder"):
        PairedFolder(str(root / "none")).read()
    write(root / "input" / "3.bmp", 0)
    with pytest.raises(UserError, match=r"input/3.png: 3.bmp has the same name|input/3.bmp: 3.png has the same name"):
        PairedFolder(str(root)).read()
