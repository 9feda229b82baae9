"""`look --data`: the images that a recipe trains on, before and after augmentation."""

import pytest
import torch
from PIL import Image

from genmods import create
from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic


@pytest.fixture
def photos(tmp_path, monkeypatch):
    for k in range(12):
        folder = tmp_path / "photos" / ("cat", "dog")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (20 * k, 255 - 20 * k, 128)).save(folder / f"$photo_{k}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def look(*options):
    return dispatch(["look", "--data", "folder/classify", "--data.root=photos", "--data.image_size=[16, 24]", *options])


def test_a_page_and_the_range_of_the_images(photos, capsys):
    assert look("--out", "seen", "--n", "3", "--data.batch_size=4") == 0
    out = capsys.readouterr().out
    assert "train 10, val 1, test 1, 2 classes" in out and out.rstrip().endswith("data.png")
    assert out.count("[3, 16, 24] in [") == 5, "before, and four epochs"
    few = Image.open("seen/data.png")
    assert look("--out", "seen", "--n", "4", "--data.batch_size=4", "--data.augment=[]") == 0
    assert capsys.readouterr().out.count("[3, 16, 24] in [") == 2
    assert Image.open("seen/data.png").size[0] < few.size[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--data", "folder/classify", "--ckpt_path", "x"], "--data must not be combined with --ckpt_path"),
        (["--ckpt_path", "x"], "requires --ckpt_path and --input, or --data RECIPE"),
        (["--ckpt_path", "x", "--input", "y", "--data.root=z"], "--data.root=z requires --data RECIPE"),
        (["--data", "folder/classify", "--n", "0"], "--n must be at least 1, got 0"),
        (["--data", "folder/clasify"], "did you mean 'folder/classify'?"),
    ],
)
def test_mistakes_are_one_line(options, told, tmp_path, capsys):
    assert dispatch(["look", "--out", str(tmp_path), *options]) == 2
    assert told in capsys.readouterr().err


def test_what_is_seen_is_what_is_trained_on():
    steps = [create("augmentation", "translate", pixels=2), create("augmentation", "mixup")]
    data = ImageData(Synthetic(side=8, train_images=40), batch_size=10, augment=steps, seed=3)
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(batch["index"], data.first_batch())
    data.trainer = type("Training", (), {"training": True, "global_rank": 0, "world_size": 1})()
    trained = data.on_after_batch_transfer(batch, 0)
    seen = data.seen(data.first_batch(), 0)
    assert torch.equal(seen["image"], trained["image"]) and torch.equal(seen["label"], trained["label"])
    assert not torch.equal(data.seen(data.first_batch(), 1)["image"], seen["image"])


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (create("augmentation", "torchvision", transform="RandomCrop", settings={"size": 5}), "must keep the shape"),
        (create("augmentation", "torchvision", transform="ElasticTransform"), "data.augment: Argument"),
        (create("augmentation", "translate", pixels=9, padding="reflect"), "pixels must be below 8"),
    ],
)
def test_an_augmentation_that_does_not_fit_the_images_is_refused_before_training(step, told):
    data = ImageData(Synthetic(side=8, train_images=20), augment=[step])
    with pytest.raises(UserError, match=told):
        data.setup("fit")
