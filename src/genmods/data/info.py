"""Properties of a data set that determine settings of a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from genmods.core.label_kinds import LabelKind
from genmods.core.sizes import Size, per_channel, size_of


@dataclass(frozen=True)
class DataInfo:
    """The properties of a data set, for settings that a recipe leaves to the data.

    Args:
        shape: The shape of a sample; [C, H, W] for images.
        num_classes: Number of classes, 0 without labels.
        mean: Mean of the training pixels per channel, on the scale of [-1, 1]; a single number is for all channels.
        std: Standard deviation of the training pixels per channel, on the scale of [-1, 1]; likewise.
        levels: Number of grey levels per channel.
        class_names: The names of the classes, labels or numbers, in order.
        label_kind: The kind of labels; by default "class" if there are classes.
        class_counts: Number of training images per class or label.
        target_mean: Mean of each number over the training images.
        target_std: Standard deviation of each number over the training images.
        columns: Column names of the image and of its class or labels in tables of predictions; then the separator of
            several labels in a column.
    """

    shape: tuple[int, ...]
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    levels: int
    class_names: list[str]
    label_kind: LabelKind | None = None
    class_counts: list[int] = field(default_factory=list)
    target_mean: list[float] = field(default_factory=list)
    target_std: list[float] = field(default_factory=list)
    columns: tuple[str, ...] = ("image", "class")

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "columns", tuple(self.columns))
        if self.label_kind is None:
            object.__setattr__(self, "label_kind", "class" if self.num_classes else "none")
        for name in ("mean", "std"):
            object.__setattr__(self, name, per_channel(getattr(self, name), self.in_channels))

    @property
    def in_channels(self) -> int:
        """Number of channels of a sample."""
        return self.shape[0]

    @property
    def image_size(self) -> Size:
        """Size of an image in pixels; the length of the last dimension for other samples."""
        return size_of(*self.shape[1:]) if len(self.shape) == 3 else self.shape[-1]

    @property
    def sigma_data(self) -> float:
        """Root mean square of the training pixels, on the scale of [-1, 1] (Karras et al. 2022)."""
        return fmean(m**2 + s**2 for m, s in zip(self.mean, self.std, strict=True)) ** 0.5

    def plain(self) -> dict[str, Any]:
        """Plain data such that `DataInfo(**plain)` is equal."""
        return asdict(self)

    def settings(self) -> dict[str, Any]:
        """The values of the settings that the data fill, by name.

        `std` is 1 for a constant channel, since it is used as a divisor.
        """
        derived = {name: getattr(self, name) for name in ("in_channels", "image_size", "sigma_data")}
        return {**asdict(self), **derived, "std": tuple(s or 1.0 for s in self.std)}
