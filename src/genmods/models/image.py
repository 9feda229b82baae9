"""Models with one network that maps a normalised image to numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from genmods.core.batch import INPUT, Batch
from genmods.core.errors import UserError
from genmods.core.image_range import check_images
from genmods.core.settings import ClassNames, DataChannels, DataMean, DataSides, DataStd
from genmods.core.sizes import per_channel, sides
from genmods.models.base import Inspection, Model
from genmods.networks.base import Network, dry_run
from genmods.networks.layout import memory_format


class ImageModel(Model):
    """A network for images [B, C, H, W] in [-1, 1], normalised per channel.

    The normalisation uses the network's `statistics`, if it has any, otherwise `mean` and `std` of the data. A subclass
    passes the network and the number of its outputs by position (None: any number). Raises ValueError if the network
    does not return as many.
    """

    uses_classes = True
    mean: Tensor
    std: Tensor
    image_shape: tuple[int, int, int]

    def __init__(
        self,
        network: Network,
        outputs: int | None,
        /,
        in_channels: DataChannels = 1,
        image_size: DataSides = 28,
        mean: DataMean = 0.0,
        std: DataStd = 1.0,
        class_names: ClassNames | None = None,
    ) -> None:
        super().__init__()
        self.class_names = class_names or [str(k) for k in range(outputs or 0)]
        self.layout = memory_format(network)
        self.network = network.to(memory_format=self.layout)
        self.image_shape = (in_channels, *sides(image_size))
        for name, value in zip(("mean", "std"), network.statistics or (mean, std), strict=True):
            numbers = torch.tensor(per_channel(value, in_channels)).view(1, -1, 1, 1)
            self.register_buffer(name, numbers, persistent=False)
        shape = dry_run(network, torch.empty(2, *self.image_shape, device="meta"))
        if shape is not None and (len(shape) != 2 or shape[0] != 2 or outputs not in (None, shape[1])):
            wanted = "a vector" if outputs is None else f"{outputs} logits"
            raise ValueError(f"{type(network).__name__} must return {wanted} per image, got {list(shape[1:])}")

    def normalized(self, images: Tensor) -> Tensor:
        """`images` [B, C, H, W] in [-1, 1], normalised for the network. Raises UserError for others, e.g. [0, 255]."""
        self.check(images)
        return ((images - self.mean) / self.std).contiguous(memory_format=self.layout)

    def check(self, images: Tensor) -> None:
        """Raises UserError unless `images` are [B, C, H, W] in [-1, 1]; with gradients, any noise is accepted.

        NaN and infinities are accepted in training, and as estimates of a guided denoiser.
        """
        finite = not (self.training or getattr(images, "requires_grad", False))  # another type is refused below
        check_images(images, (self.image_shape[0], "H", "W"), noisy=torch.is_grad_enabled(), finite=finite)

    def forward(self, images: Tensor) -> Tensor:
        """The network's output [B, K] for `images` [B, C, H, W] in [-1, 1]."""
        return self._applied(self.network, images)

    def features(self, images: Tensor) -> Tensor:
        """Embeddings [B, D] of `images` [B, C, H, W] in [-1, 1], before the head."""
        return self._applied(self.network.features, images)

    def _applied(self, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The result for normalised images; raises UserError if the network does not take images of this size."""
        x = self.normalized(images)
        try:
            return function(x)
        except (RuntimeError, ValueError) as error:
            if tuple(images.shape[1:]) == self.image_shape:
                raise
            wanted = ", ".join(map(str, ("B", *self.image_shape)))
            raise UserError(f"images must have shape [{wanted}], as in training, got {list(images.shape)}") from error

    def fit_statistics(self, batch: Batch) -> None:
        if not self.network.prepared:
            self.network.fit_statistics(self.normalized(batch[INPUT]))

    def predictions(self, images: Tensor) -> Tensor:
        """The predictions for `images` [B, C, H, W] in [-1, 1]: numbers [B, K], one per name of `class_names`."""
        raise NotImplementedError

    def inspect(self, image: Tensor, condition: Mapping[str, Any] | None, sigma: float) -> Inspection:
        return Inspection(self.network, (self.normalized(image[None]),), image)
