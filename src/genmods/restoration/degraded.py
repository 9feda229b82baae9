"""Image-to-image models: conditioned on a degraded version of the image, or on the other image of a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn

from genmods.core.batch import INPUT, PAIRED
from genmods.core.errors import UserError
from genmods.core.settings import DataChannels, DataSides
from genmods.core.sizes import sides
from genmods.diffusion.conditioning import Condition, Conditioning
from genmods.networks.base import Network
from genmods.restoration.corruption import Corruption
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.operators import Identity, Operator


class Degraded(Conditioning):
    """A degraded image as `cond["image"]` [B, 1 + C, H, W]: a channel of ones, and A⁺ y for the measurement y of the
    image (Saharia et al. 2022, "Palette"; "Image super-resolution via iterative refinement").

    With an operator A or a corruption y is generated for each batch; without both it is the `input` of paired data,
    such as `paired_folder`. The null condition is all zeros.

    With a `predictor`, the network of a blind `RestorationNetwork` that was trained to invert the same degradation in
    one call, its result takes the place of A⁺ y, so that only the detail that it cannot know is left to draw (after
    Whang et al. 2022, "Deblurring via stochastic refinement").

    Args:
        operator: The operator A, such as down-sampling; None for the identity.
        corruption: The corruption of A x, which may be drawn per image; None for none.
        predictor: The trained network, `{from: RUN}`; it is not trained further.
        drop: Share of training samples, in (0, 1), with the null condition, for classifier-free guidance and
            unconditional samples.
        in_channels, image_size: Shape of the training images.

    Raises:
        ValueError: If the predictor does not restore images of the training shape, or the data are pairs.
    """

    reveals_image = True

    def __init__(
        self,
        operator: Operator | None = None,
        corruption: Corruption | None = None,
        predictor: Network | None = None,
        drop: Annotated[float, Gt(0), Lt(1)] = 0.1,
        in_channels: DataChannels = 1,
        image_size: DataSides = 28,
    ) -> None:
        super().__init__()
        self.is_paired = operator is None and corruption is None
        self.operator, self.corruption, self.drop = operator or Identity(), corruption, drop
        self.shape = (1 + in_channels, *sides(image_size))
        self.predictor: RestorationNetwork | None = None
        if predictor is not None:
            if self.is_paired:
                raise ValueError("predictor requires an operator or a corruption")
            frozen = predictor.requires_grad_(False)
            self.predictor = RestorationNetwork(frozen, operator, corruption, "blind", in_channels, image_size).eval()

    def train(self, mode: bool = True) -> Self:
        """Sets the mode; the predictor always predicts as in evaluation."""
        super().train(mode)
        if self.predictor is not None:
            self.predictor.eval()
        return self

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        cond = self.seen(self._measured(batch))
        if self.training:
            dropped = torch.rand(len(cond), 1, 1, 1, device=cond.device) < self.drop
            cond = torch.where(dropped, torch.zeros_like(cond), cond)
        return {"image": cond}

    def _measured(self, batch: Mapping[str, Tensor]) -> Tensor:
        if self.is_paired:
            if PAIRED not in batch:
                raise UserError(
                    "conditioning: degraded requires an operator, a corruption, or paired data such as paired_folder"
                )
            return batch[PAIRED]
        y = self.operator(batch[INPUT])
        if self.corruption is None:
            return y
        return self.corruption(y, torch.randint(2**62, (len(y),), device=y.device))

    def seen(self, y: Tensor) -> Tensor:
        """The condition [B, 1 + C, H, W] of measurements `y` [B, ...]."""
        x = self.operator.pinv(y) if self.predictor is None else self.predictor.restored(y)
        return torch.cat([torch.ones_like(x[:, :1]), x], dim=1)

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        return {"image": torch.zeros(n, *self.shape, device=device)}

    def check(self, network: nn.Module) -> None:
        known = getattr(network, "cond_channels", self.shape[0])
        if known != self.shape[0]:
            name = type(network).__name__
            raise ValueError(f"{name} has cond_channels {known}; degraded requires {self.shape[0]}")

    def same_as(self, other: Conditioning) -> bool:
        mine = self.shape, self.operator, self.corruption
        return isinstance(other, Degraded) and mine == (other.shape, other.operator, other.corruption)
