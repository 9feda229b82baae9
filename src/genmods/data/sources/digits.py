"""scikit-learn's handwritten digits: 1,797 images of 8 x 8 pixels with 17 grey levels, part of its installation."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from genmods.core.label_kinds import LabelKind
from genmods.data.images import Images, Source


@dataclass
class Digits(Source):
    """Handwritten digits, 8 x 8, 17 grey levels (0 ... 16, so that p/8 - 1 is exact), 10 classes, one split."""

    def read(self) -> dict[str, Images]:
        from sklearn.datasets import load_digits

        data = load_digits()
        pixels = torch.from_numpy(data.images).to(torch.uint8)[:, None]
        return {"train": Images(pixels, torch.from_numpy(data.target).long())}

    @property
    def kind_of_labels(self) -> LabelKind:
        return "class"

    @property
    def class_names(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    @property
    def levels(self) -> int:
        return 17
