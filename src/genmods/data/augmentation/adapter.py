"""Transforms of torchvision.transforms.v2 as augmentations, with a key per sample.

Transforms draw one set of parameters per call from the global generator. Each image is therefore transformed
separately, with the generator seeded by its key and restored afterwards, which is about thirty times slower than the
other augmentations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.errors import nearest
from genmods.data.augmentation.base import Augmentation


@dataclass
class TorchVision(Augmentation):
    """The class `transform` of torchvision.transforms.v2 with `settings`, applied to float images in [0, 1].

    Raises ValueError if there is no such transform, or if it does not accept the settings.
    """

    transform: str = "RandomPerspective"
    settings: dict[str, float] = field(default_factory=dict)
    num_uniforms: ClassVar[int] = 2

    def __post_init__(self) -> None:
        from torchvision.transforms import v2

        cls = getattr(v2, self.transform, None)
        if not (isinstance(cls, type) and issubclass(cls, v2.Transform)):
            hint = nearest(self.transform, dir(v2))
            raise ValueError(f"torchvision.transforms.v2 has no transform {self.transform!r}{hint}")
        try:
            self._transform = cls(**self.settings)
        except TypeError as error:
            raise ValueError(f"{self.transform} does not accept these settings: {error}") from None

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        images = (batch[INPUT] + 1) / 2
        devices = [images.device] if images.is_cuda else []
        changed = []
        with torch.random.fork_rng(devices):
            for image, (high, low) in zip(images, (u * 2**24).long().tolist(), strict=True):
                torch.manual_seed(high << 24 | low)
                changed.append(self._transform(image))
        if any(image.shape != images[0].shape for image in changed):
            raise ValueError(f"{self.transform} must not change the shape of images")
        return batch | {INPUT: torch.stack(changed).clamp(0, 1) * 2 - 1}
