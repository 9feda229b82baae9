"""The border of images in memory, and of image files that a model receives later."""

from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from PIL import Image

from genmods.data.decoding import decode_files
from genmods.data.images import Images, Source
from genmods.data.module import ImageData


@dataclass
class Grey(Source):
    """Random grey images."""

    def read(self):
        generator = torch.Generator().manual_seed(0)
        return {"train": Images(torch.randint(256, (4, 1, 8, 8), generator=generator, dtype=torch.uint8))}


@dataclass
class OnWhite(Grey):
    """Images on a white or black background."""

    background: Literal["white", "black"] = "white"


@pytest.mark.parametrize(("source", "border"), [(Grey(), 0), (OnWhite(), 255), (OnWhite("black"), 0)])
def test_a_file_is_padded_as_the_training_images_were(source, border, tmp_path):
    data = ImageData(source, image_size=(8, 12), fit="pad", val_fraction=0, test_fraction=0)
    trained = data.splits["train"].pixels
    assert (trained[..., :2] == border).all() and (trained[..., -2:] == border).all()
    Image.fromarray(source.read()["train"].pixels[0, 0].numpy()).save(tmp_path / "first.png")
    assert torch.equal(decode_files([tmp_path / "first.png"], data.preparation).pixels, trained[:1])
