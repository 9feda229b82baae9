"""What a task sees before its first step: a share of the training images, from all over the data."""

import torch

from genmods.data.images import Images
from genmods.data.module import ImageData
from genmods.data.sources.synthetic import Synthetic


class Sorted(Synthetic):
    """Eight thousand images in the order of their classes, as a folder has them; the pixels are the class."""

    def read(self):
        pixels = torch.arange(8).repeat_interleave(1000).to(torch.uint8).view(-1, 1, 1, 1)
        return {"train": Images(pixels.expand(-1, 1, self.side, self.side))}

    @property
    def levels(self):
        return 8


def test_examples_come_from_every_class():
    data = ImageData(Sorted(side=4), val_fraction=0, test_fraction=0)
    examples = data.examples()["image"]
    assert examples.shape == (5000, 1, 4, 4) and examples.min() == -1 and examples.max() == 1
    values, counts = examples[:, 0, 0, 0].unique(return_counts=True)
    assert len(values) == 8 and counts.min() > 500
