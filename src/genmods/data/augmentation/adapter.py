"""Transforms of torchvision.transforms.v2 as augmentations, with a key per sample.

Transforms draw one set of parameters per call from the global generator. Each image is therefore transformed
separately, with the generator seeded by its key and restored afterwards, which is about thirty times slower than the
other augmentations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.errors import nearest
from genmods.data.augmentation.base import Augmentation

_FAR = 0.5
"""How far an interpolated value may be outside of [0, 1]."""


@dataclass
class TorchVision(Augmentation):
    """The class `transform` of torchvision.transforms.v2 with `settings`, applied to float images in [0, 1].

    Settings are numbers, texts or lists; `interpolation`, `policy` and `dtype` are given by name (`bilinear`). The
    transform is tried once when it is built. Those that only take uint8, such as JPEG, get images rounded to it.

    Raises ValueError if there is no such transform, if it does not accept the settings, or if it does not return one
    image of the same shape with values in [0, 1].
    """

    transform: str = "RandomPerspective"
    settings: dict[str, Any] = field(default_factory=dict)
    num_uniforms: ClassVar[int] = 2

    def __post_init__(self) -> None:
        from torchvision.transforms import v2

        cls = getattr(v2, self.transform, None)
        if not (isinstance(cls, type) and issubclass(cls, v2.Transform)):
            hint = nearest(self.transform, (name for name in dir(v2) if isinstance(getattr(v2, name), type)))
            raise ValueError(f"torchvision.transforms.v2 has no transform {self.transform!r}{hint}")
        try:
            self._transform = cls(**{name: _value(name, value) for name, value in self.settings.items()})
        except Exception as error:  # of any kind, for any settings
            raise ValueError(f"{self.transform} does not accept these settings: {_line(error)}") from None
        self._of_bytes = False
        with torch.random.fork_rng(devices=[]):
            self._try()

    def _try(self) -> None:
        """Transform an image, as float and if that fails as uint8; raises ValueError if both fail."""
        image = torch.linspace(0, 1, 3 * 64 * 64).view(3, 64, 64)
        side = max([64, *(n for n in _numbers(self.settings.get("size")) if n <= 4096)])
        image = torch.nn.functional.interpolate(image[None], (side, side))[0]
        failure: Exception | None = None
        for self._of_bytes in (False, True):
            try:
                self._one(image, 0)
                return
            except Exception as error:  # transforms raise arbitrary exceptions
                failure = failure or error
        raise ValueError(f"{self.transform}: {_line(failure)}") from None

    def _one(self, image: Tensor, seed: int) -> Tensor:
        """The transformed image [C, H, W], of a size that the transform may change."""
        torch.manual_seed(seed)
        given = (image * 255).round().to(torch.uint8) if self._of_bytes else image
        changed = self._transform(given)
        if not isinstance(changed, Tensor) or changed.dtype != given.dtype or changed.ndim != 3:
            got = f"{changed.dtype} {list(changed.shape)}" if isinstance(changed, Tensor) else type(changed).__name__
            raise ValueError(f"must return one image of {given.dtype}, got {got}")
        if self._of_bytes:
            return changed / 255
        low, high = float(changed.min()), float(changed.max())
        if not -_FAR <= low <= high <= 1 + _FAR:
            raise ValueError(f"must return values in [0, 1], got {low:.3g} to {high:.3g}")
        return changed

    def apply(self, batch: Batch, u: Tensor) -> Batch:
        images = (batch[INPUT] + 1) / 2
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices):
            seeds = [high << 24 | low for high, low in (u * 2**24).long().tolist()]
            changed = [self._one(image, seed) for image, seed in zip(images, seeds, strict=True)]
        shapes = {tuple(image.shape) for image in changed}
        if shapes != {tuple(images.shape[1:])}:
            shape = tuple(images.shape[1:])
            other = next(one for one in sorted(shapes) if one != shape)
            raise ValueError(f"{self.transform} must keep the shape {list(shape)}, got {list(other)}")
        return batch | {INPUT: torch.stack(changed).clamp(0, 1) * 2 - 1}


def _value(name: str, value: Any) -> Any:
    """A setting, with the constants of torch and torchvision by name."""
    from torchvision.transforms import v2

    if not isinstance(value, str):
        return value
    if name == "interpolation":
        return v2.InterpolationMode(value)
    if name == "policy":
        return v2.AutoAugmentPolicy(value)
    return getattr(torch, value) if name == "dtype" else value


def _numbers(value: Any) -> list[int]:
    return [n for n in (value if isinstance(value, list | tuple) else [value]) if type(n) is int]


def _line(error: Exception | None) -> str:
    return " ".join(str(error).split()) or type(error).__name__
