"""Patches of photographs: places, scale, splits without a photograph in two, and small or odd images."""

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.data.sources.photo_patches import PhotoPatches, _mirrored


def write(path, width, height, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = Image.linear_gradient("L").resize((width, height))
    Image.merge("RGB", [ramp, ramp.rotate(90), Image.new("L", ramp.size, shade)]).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for k in range(20):
        write(root / f"{k:02}.png", 40 + k, 60, 10 * k)  # the blue channel names the photograph
    return root


def shades(images):
    return set(images.pixels[:, 2].flatten(1).median(1).values.tolist())


def test_no_photograph_is_in_two_splits_and_each_is_in_one(photos):
    splits = PhotoPatches(str(photos), per_image=3, scale=1.0).read_at(16)
    found = {name: shades(images) for name, images in splits.items()}
    assert len(found["train"]) == 16 and len(found["val"]) == len(found["test"]) == 2
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 20
    assert [len(splits[name]) for name in ("train", "val", "test")] == [48, 2, 2]


def test_patches_are_pieces_of_their_photograph(photos):
    train = PhotoPatches(str(photos), per_image=5, scale=1.0).read_at(16)["train"]
    whole = torch.from_numpy(np.array(Image.open(photos / train.names[0]))).permute(2, 0, 1)
    windows = whole.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
    for patch in train.pixels[:5]:
        assert (windows == patch).flatten(1).all(1).any()
    assert len({patch.numpy().tobytes() for patch in train.pixels[:5]}) > 1


def test_a_photograph_is_scaled_first(photos):
    half = PhotoPatches(str(photos), per_image=1, scale=0.5).read_at((30, 20))["val"]
    assert half.pixels.shape[1:] == (3, 30, 20)
    first = half.pixels[0, 0].float()
    assert first[0].mean() < 8 and first[-1].mean() > 247  # all of the gradient is there


def test_folders_are_splits(tmp_path):
    for split, n in (("train", 3), ("validation", 2), ("test", 1)):
        for k in range(n):
            write(tmp_path / split / "any" / f"{k}.jpg", 64, 64, 0)
    splits = PhotoPatches(str(tmp_path), per_image=2).read_at(16)
    assert {name: len(images) for name, images in splits.items()} == {"train": 6, "val": 2, "test": 1}


def test_small_photographs_are_mirrored(tmp_path):
    write(tmp_path / "train" / "a.png", 5, 3, 7)
    pixels = PhotoPatches(str(tmp_path), per_image=1, scale=1.0).read_at(16)["train"].pixels[0]
    assert pixels.shape == (3, 16, 16)
    assert torch.equal(pixels[:, :, 0], pixels[:, :, 8]) and torch.equal(pixels[:, 1], pixels[:, 3])
    assert _mirrored(7, 3).tolist() == [0, 1, 2, 1, 0, 1, 2] and _mirrored(3, 1).tolist() == [0, 0, 0]


def test_grey_and_the_data_module(photos):
    data = ImageData(PhotoPatches(str(photos), per_image=2, channels=1), batch_size=4, image_size=16)
    assert data.info.shape == (1, 16, 16) and len(data.splits["val"]) == 2


@pytest.mark.parametrize("settings", [{"per_image": 0}, {"scale": 0.0}, {"scale": 1.5}, {"channels": 2}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="got"):
        PhotoPatches(**settings)


def test_an_absent_or_empty_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no folder"):
        PhotoPatches(str(tmp_path / "absent")).read()
    with pytest.raises(UserError, match="there are no images in"):
        PhotoPatches(str(tmp_path)).read()
