"""The base class of the denoising networks of genmods, with the settings of their condition."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from genmods.core.printable import counted
from genmods.core.settings import Channels, CondSize, DataClasses, Guided, TwoTimes
from genmods.networks.base import Condition, Network
from genmods.networks.blocks import Embedding


class ConditionalNetwork(Network):
    """A denoising network with an embedding of the log-SNR and the condition.

    A subclass passes `in_channels`, the channels of the images, and the size of the embedding by position.

    Args:
        num_classes: Number of class labels; 0 for no class conditioning.
        cond_channels: Channels of `cond["image"]`, such as a masked image or a map of noise levels.
        cond_size: Size of `cond["vector"]`; 0 for none.
        out_channels: Channels of the output, by default `in_channels` (twice as many for a learned variance).
        two_times: Whether the network receives the log-SNR at the end of a step, `cond["end"]` [B]; set by the task
            `mean_flow`.
        guided: Whether the network receives the scale of guidance, `cond["guidance"]` [B]; set by the task `mean_flow`.
    """

    embedding_type: ClassVar[type[nn.Module]] = Embedding

    def __init__(
        self,
        in_channels: int,
        embedding: int,
        /,
        num_classes: DataClasses = 0,
        cond_channels: CondSize = 0,
        cond_size: CondSize = 0,
        out_channels: Channels | None = None,
        two_times: TwoTimes = False,
        guided: Guided = False,
    ):
        super().__init__()
        self.num_classes, self.cond_channels, self.cond_size = num_classes, cond_channels, cond_size
        self.out_channels = in_channels if out_channels is None else out_channels
        self.two_times, self.guided = two_times, guided
        self.embedding = self.embedding_type(embedding, num_classes, cond_size, two_times, guided)

    def with_image(self, x: Tensor, cond: Condition | None) -> Tensor:
        """`x` [B, C, ...] concatenated with the condition's `image` [B, cond_channels, ...] along the channels.

        Raises ValueError if `cond_channels` is positive and the image is missing or has another shape.
        """
        if not self.cond_channels:
            return x
        image = cond.get("image") if cond else None
        expected = (x.shape[0], self.cond_channels, *x.shape[2:])
        if image is None or image.shape != expected:
            if image is None:
                raise ValueError(
                    f"cond['image'] must have {counted(self.cond_channels, 'channel')} (cond_channels), got none"
                )
            raise ValueError(f"cond['image'] must have shape {expected} (cond_channels), got {tuple(image.shape)}")
        return torch.cat([x, image.to(x.dtype)], dim=1)
