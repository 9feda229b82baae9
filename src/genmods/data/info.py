"""What a data set says about a model that is built for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DataInfo:
    """The facts of a data set that fill settings which a recipe leaves "from data".

    Args:
        in_channels: Channels of an image.
        image_size: Side of an image in pixels.
        num_classes: Number of classes, 0 without labels.
        mean: Mean of the training pixels on [-1, 1].
        std: Standard deviation of the training pixels on [-1, 1].
        levels: Number of grey levels per channel.
        class_names: Names of the classes in the order of their labels.
    """

    in_channels: int
    image_size: int
    num_classes: int
    mean: float
    std: float
    levels: int
    class_names: list[str]

    @property
    def sigma_data(self) -> float:
        """Root mean square of the training pixels on [-1, 1] (Karras et al. 2022)."""
        return (self.mean**2 + self.std**2) ** 0.5

    def plain(self) -> dict[str, Any]:
        """Plain data, from which `DataInfo(**plain)` is the same again."""
        return asdict(self)

    def settings(self) -> dict[str, Any]:
        """The value of each setting that the data can fill, by the setting's name."""
        return {**asdict(self), "sigma_data": self.sigma_data}
