"""Rectangular images with any number of channels, in training and all commands."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from genmods import create
from genmods.cli import dispatch
from genmods.data.files import read_image
from genmods.runs import folders
from genmods.runs.fit import build_data, fit
from support.small_runs import classifier, recipe

SIZE = (6, 12)
UNET = {"name": "unet", "width": 4, "multipliers": [1, 2], "blocks": 1, "attention": []}
DIFFUSION = {"name": "diffusion", "process": "cosine", "prediction": "v", "sampler": {"name": "unipc", "steps": 2}}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Two classes of 6 x 12 pictures, PNGs of colour and TIFFs of five channels."""
    import tifffile

    root = tmp_path_factory.mktemp("wide")
    random = np.random.default_rng(0)
    for name, low in (("dim", 0), ("bright", 128)):
        for kind in ("png", "five"):
            (root / kind / name).mkdir(parents=True)
        for i in range(10):
            pixels = random.integers(low, low + 128, (*SIZE, 5), dtype=np.uint8)
            Image.fromarray(pixels[:, :, :3]).save(root / "png" / name / f"{i}.png")
            settings = {"photometric": "minisblack", "planarconfig": "contig"}
            tifffile.imwrite(root / "five" / name / f"{i}.tif", pixels, **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield root


def source(root, kind, **settings):
    return {"name": "image_folder", "root": str(root / kind), "batch_size": 8, **settings}


@pytest.mark.parametrize("kind", ["png", "five"])
def test_a_diffusion_model_trains_generates_and_fills_in_the_size_of_its_data(wide, tmp_path, kind):
    data = source(wide, kind, augment=["flip", {"name": "random_resized_crop"}])
    run = fit(recipe({**DIFFUSION, "network": UNET}, data, name=f"diffusion-{kind}"), quiet=True)
    shape = (3 if kind == "png" else 5, *SIZE)
    assert folders.load(run).image_shape == shape
    assert dispatch(["generate", "--ckpt_path", str(run), "--n", "2", "--out", str(tmp_path / "new"), "--quiet"]) == 0
    with np.load(tmp_path / "new" / "samples.npz") as stored:
        assert stored["images"].shape == (2, *SIZE, shape[0])
    inputs = wide / kind / "dim"
    command = ["inpaint", "--ckpt_path", str(run), "--input", str(inputs), "--mask", "box:2,1,4,3", "--steps", "2"]
    assert dispatch([*command, "--out", str(tmp_path / "filled"), "--quiet"]) == 0
    for path in inputs.iterdir():
        before, after = read_image(path).image, read_image(tmp_path / "filled" / path.name).image
        assert after.shape == shape
        hole = torch.zeros(SIZE, dtype=torch.bool)
        hole[1:4, 2:6] = True
        assert torch.equal(before[:, ~hole], after[:, ~hole])


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("png", {"name": "cnn", "layers": ["conv 4", "pool 2", "linear 8"]}),
        ("five", {"name": "cnn", "layers": ["conv 4 3 2", "avgpool"]}),
        ("png", {"name": "torchvision", "architecture": "squeezenet1_1", "resize": [32, 48]}),
    ],
)
def test_a_classifier(wide, tmp_path, kind, network):
    run = fit(classifier(network, source(wide, kind), name=f"classifier-{kind}"), quiet=True)
    out = tmp_path / "classes.csv"
    assert dispatch(["classify", "--ckpt_path", str(run), "--input", str(wide / kind), "--out", str(out)]) == 0
    with out.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 20
    picture = next((wide / kind / "dim").iterdir())
    assert dispatch(["look", "--ckpt_path", str(run), "--input", str(picture), "--out", str(tmp_path / "seen")]) == 0


def test_the_other_tasks(wide):
    data = source(wide, "png")
    autoencoder = {"name": "autoencoder", "width": 4, "multipliers": [1, 2, 2], "latent_channels": 2}
    vae = fit(recipe({"name": "vae", "network": autoencoder}, data, name="vae"), quiet=True)
    assert folders.load(vae).sample(2).shape == (2, 3, *SIZE)
    parts = {"network": {"name": "generator", "latent": 4, "width": 4, "multipliers": [1, 2, 2]}}
    parts["discriminator"] = {"name": "discriminator", "width": 4, "multipliers": [1]}
    gan = fit(recipe({"name": "gan", "latent": 4, **parts}, data, name="gan"), quiet=True)
    assert folders.load(gan).sample(2).shape == (2, 3, *SIZE)
    masked = recipe({**DIFFUSION, "network": {**UNET, "cond_channels": 4}, "conditioning": "masked_image"}, data)
    assert folders.load(fit(masked, quiet=True)).sample(2).shape == (2, 3, *SIZE)


@pytest.mark.parametrize("fit_", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(4, 10), 5])
def test_images_are_brought_to_a_size(wide, fit_, size):
    data = source(wide, "png", image_size=list(size) if isinstance(size, tuple) else size, fit=fit_)
    info = build_data(classifier({"name": "cnn", "layers": ["conv 4"]}, data)).info
    assert info.shape == (3, *(size if isinstance(size, tuple) else (size, size))) and info.image_size == size


def test_a_source_in_memory_is_fitted_too():
    module = create("data", "synthetic", side=8, channels=3, train_images=20, test_images=5)
    from genmods.data.module import ImageData

    data = ImageData(module, image_size=(4, 8), fit="pad")
    pixels = data.splits["train"].pixels
    assert pixels.shape[1:] == (3, 4, 8) and pixels[..., :2].eq(0).all() and pixels[..., 6:].eq(0).all()
    assert ImageData(module, image_size=(4, 8)).info.shape == (3, 4, 8)


@pytest.mark.parametrize("name", ["cnn", "airbench", "convnext", "resnet", "mlp", "dit", "unet", "vdm"])
def test_every_network_takes_a_rectangle(name):
    size, settings = (16, 32), {"in_channels": 3, "num_classes": 4}
    try:
        network = create("network", name, image_size=size, **settings)
    except ValueError:
        network = create("network", name, **settings)
    x = torch.randn(2, 3, *size)
    if name in ("cnn", "airbench", "convnext", "resnet"):
        assert network.eval()(x).shape == (2, 4)
    else:
        assert network.eval()(x, torch.zeros(2), {"label": torch.zeros(2, dtype=torch.int64)}).shape == x.shape
