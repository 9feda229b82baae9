"""`classify` of one image or a list, in any form; anything but an image in [-1, 1] is refused with its shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from genmods import UserError
from genmods.data.decoding import prepared
from genmods.data.preparation import Preparation
from genmods.diffusion import CosineProcess, Denoiser, DiffusionLoss, VPrediction
from genmods.models import Classifier
from genmods.networks import CNN, Network, UNet


class Brightness(Network):
    """Logits that favour the class whose brightness -1 or 1 is nearer to the image's mean."""

    def forward(self, x):
        return 4 * x.mean((1, 2, 3))[:, None] * torch.tensor([-1.0, 1.0], device=x.device)


@pytest.fixture
def model():
    return Classifier(Brightness(), num_classes=2, image_size=8, class_names=["dark", "light"]).eval()


def test_files_images_and_arrays_are_classified_alike(model, tmp_path):
    array = np.full((20, 13), 240, dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "light.png")
    forms = [str(tmp_path / "light.png"), tmp_path / "light.png", Image.fromarray(array), array, array[..., None]]
    found = model.classify(forms)
    assert {one.name for one in found} == {"light"} and len({one.probability for one in found}) == 1
    assert model.classify(forms[0]) == found[0] and sum(found[0].probabilities.values()) == pytest.approx(1)
    assert model.classify(np.zeros((8, 8, 3), np.uint8)).name == "dark" and model.classify([]) == []


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (torch.rand(2, 3, 8, 8), r"images must be float \[B, 1, H, W\] in \[-1, 1\], got float32 \[2, 3, 8, 8\]"),
        (torch.rand(8, 8), r"got float32 \[8, 8\]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), r"got uint8 \[2, 1, 8, 8\]"),
        (torch.full((2, 1, 8, 8), 255.0), r"images must lie in \[-1, 1\], got the value 255"),
    ],
)
def test_other_tensors_are_refused(model, images, line):
    for use in (model.probabilities, model, model.features):  # the last two with gradients
        with pytest.raises(UserError, match=line):
            use(images)


def test_an_array_is_not_a_batch(model):
    with pytest.raises(UserError, match=r"images must be float \[B, 1, H, W\] in \[-1, 1\], got ndarray"):
        model.probabilities(np.zeros((1, 1, 8, 8), np.float32))


def test_gradients_for_images_with_much_noise_are_allowed(model):
    noisy = (30 * torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    model(noisy).sum().backward()
    with torch.no_grad(), pytest.raises(UserError, match="must lie in"):
        model(noisy)


def test_a_size_that_the_network_does_not_take_is_refused_with_both_shapes():
    network = CNN(["conv 2", "linear 4"], in_channels=1, image_size=8, num_classes=2)
    model = Classifier(network, num_classes=2, image_size=8).eval()
    for use in (model.probabilities, model, model.features):
        with pytest.raises(UserError, match=r"must have shape \[B, 1, 8, 8\], as in training, got \[3, 1, 9, 7\]"):
            use(torch.zeros(3, 1, 9, 7))
    with pytest.raises(ValueError, match=r"images must have shape \[B, 1, 8, 8\], got \[3, 2, 8, 8\]"):
        network(torch.zeros(3, 2, 8, 8))


@pytest.mark.parametrize("images", [torch.full((2, 1, 8, 8), 255.0), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)])
def test_the_diffusion_loss_refuses_images_of_another_range(images):
    network = UNet(in_channels=1, width=4, multipliers=[1], blocks=1)
    denoiser = Denoiser(network, CosineProcess(), VPrediction(), sigma_data=0.5)
    with pytest.raises(UserError, match=r"images must (lie in|be float)"):
        DiffusionLoss()(denoiser, images)
    assert DiffusionLoss()(denoiser, images / 127.5 - 1).per_sample.isfinite().all()


def test_a_file_that_is_not_an_image_is_refused(model, tmp_path):
    with pytest.raises(UserError, match=r"got float64 \[8, 8\]"):
        model.classify(np.zeros((8, 8)))
    with pytest.raises(UserError, match=r"nowhere\.png"):
        model.classify(tmp_path / "nowhere.png")


def test_the_repr_is_one_line(model):
    assert repr(model) == "Classifier(Brightness; 0 parameters; images [1, 8, 8]; 2 classes: dark, light)"


def test_an_opened_file_is_read_as_the_file_is(tmp_path):
    """Pillow inverts 16-bit TIFF with white as zero, and misreads planar TIFF of 16 bits."""
    tifffile = pytest.importorskip("tifffile")
    values = np.full((8, 8), 60_000, np.uint16)
    tifffile.imwrite(tmp_path / "inverted.tif", 65535 - values, photometric="miniswhite")
    ramp = (np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "planar.tif", np.stack([ramp] * 3), photometric="rgb", planarconfig="separate")
    preparation = Preparation((8, 8), 1, levels=65536)
    for name, want in (("inverted.tif", values), ("planar.tif", ramp)):
        found = prepared(Image.open(tmp_path / name), preparation)[0]
        assert torch.allclose(found, torch.from_numpy(want.astype(np.float32)) / 32767.5 - 1, atol=1e-4)
    changed = Image.open(tmp_path / "planar.tif")
    changed.thumbnail((4, 4))  # in place
    assert torch.equal(prepared(changed, preparation), prepared(changed.copy(), preparation))
