"""`classify` of one image or a list, in any form; anything but an image in [-1, 1] is refused with its shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from genmods import UserError
from genmods.models import Classifier
from genmods.networks import Network


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
    assert model.classify(np.zeros((8, 8, 3), np.uint8)).name == "dark"


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
    with pytest.raises(UserError, match=line):
        model.probabilities(images)


def test_a_file_that_is_not_an_image_is_refused(model, tmp_path):
    with pytest.raises(UserError, match=r"got float64 \[8, 8\]"):
        model.classify(np.zeros((8, 8)))
    with pytest.raises(UserError, match=r"nowhere\.png"):
        model.classify(tmp_path / "nowhere.png")


def test_the_repr_is_one_line(model):
    assert repr(model) == "Classifier(Brightness; 0 parameters; images [1, 8, 8]; 2 classes: dark, light)"
