"""A U-Net of the diffusers library as a genmods network.

A diffusers network takes the noise level as a step of its variance-preserving schedule, alpha^2 + sigma^2 = 1, and
x_t = alpha x0 + sigma eps unscaled. Networks of genmods take x_t divided by its root mean square, and the log-SNR. The
adapter interpolates the step of the log-SNR in the schedule's table and multiplies the input by sqrt(alpha^2
sigma_data^2 + sigma^2), with alpha^2 = sigmoid(log-SNR). Other noise processes work as well, since their x_t agrees
after division by its root mean square.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt, MaxLen, MinLen, MultipleOf
from torch import Tensor, nn

from genmods.core.errors import UserError
from genmods.core.settings import Channels, DataChannels, DataClasses, Depth, FromData, Pixels, Positive
from genmods.networks.base import Condition, Network

_Side = Annotated[Pixels, MultipleOf("2 ** (len(channels) - 1)")]
Betas = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]


def log_snr_table(alphas_cumprod: Tensor) -> Tensor:
    """The log-SNR of each step [T], decreasing and finite: a last step without signal is extrapolated."""
    table = torch.logit(alphas_cumprod.double())
    last = torch.where(table[-1:].isinf(), 2 * table[-2:-1] - table[-3:-2], table[-1:])
    return torch.cat([table[:-1], last]).float()


class DiffusersUNet(Network):
    """`diffusers.UNet2DModel`, [B, in_channels, image_size, image_size] to the same shape; most models predict eps.

    With classes, the last row of the label table is the null label.

    Args:
        path: A folder with a saved pipeline (`unet/` and `scheduler/`), whose settings replace all others except
            `sigma_data`; it must exist as long as the network is used. None: a new network.
        channels: Channels of each level, finest level first, multiples of 8.
        blocks: Residual blocks per level.
        attention: Levels with self-attention; -1 is the coarsest.
        betas: The noise schedule of 1,000 steps.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels.
        num_classes: Number of class labels; 0 for no class conditioning.
        sigma_data: Root mean square of the images, as in the denoiser.

    Raises:
        UserError: If diffusers is not installed.
        ValueError: For settings out of range, or if the folder does not contain such a pipeline.
    """

    log_snr_limit = math.inf

    def __init__(
        self,
        path: str | None = None,
        in_channels: DataChannels = 1,
        image_size: Annotated[_Side | tuple[_Side, _Side], FromData] = 32,
        channels: Annotated[tuple[Annotated[Channels, MultipleOf(8)], ...], MinLen(1), MaxLen(16)] = (32, 64, 64),
        blocks: Depth = 2,
        attention: tuple[Annotated[int, Ge("-len(channels)"), Lt("len(channels)")], ...] = (-1,),
        num_classes: DataClasses = 0,
        betas: Betas = "linear",
        sigma_data: Annotated[Positive, FromData] = 1.0,
    ):
        super().__init__()
        diffusers = library()
        if path is None:
            self.model = new_unet(diffusers, in_channels, image_size, channels, blocks, attention, num_classes)
            scheduler = diffusers.DDPMScheduler(beta_schedule=betas)
        else:
            self.model, scheduler = saved_pipeline(diffusers, Path(path))
        classes: int | None = self.model.config.num_class_embeds
        self.num_classes = classes - 1 if classes else 0
        self.sigma_data = sigma_data
        self.log_snrs: Tensor
        self.register_buffer("log_snrs", log_snr_table(scheduler.alphas_cumprod), persistent=False)

    @property
    def inner(self) -> nn.Module:
        return self.model

    def forward(self, x: Tensor, log_snr: Tensor, cond: Condition | None = None) -> Tensor:
        rms = (self.sigma_data**2 * torch.sigmoid(log_snr) + torch.sigmoid(-log_snr)).sqrt()
        labels = None
        if self.num_classes:
            label = cond["label"] if cond and "label" in cond else torch.full_like(log_snr, -1, dtype=torch.int64)
            labels = torch.where(label < 0, self.num_classes, label)
        x_t = x * rms.to(x.dtype).view(-1, 1, 1, 1)
        return self.model(x_t, self.step(log_snr).to(x.dtype), class_labels=labels).sample.to(x.dtype)

    def step(self, log_snr: Tensor) -> Tensor:
        """The real-valued step [B] in [0, T - 1] of the schedule for this log-SNR [B]; T - 1 for -inf."""
        table = self.log_snrs.flip(0)  # ascending
        value = log_snr.to(table.dtype).clamp(table[0], table[-1])
        right = (table < value[..., None]).sum(-1).clamp(1, len(table) - 1)  # `searchsorted`, which ONNX lacks
        low, high = table[right - 1], table[right]
        return len(table) - right - (value - low) / (high - low)


def library() -> ModuleType:
    """The diffusers library; raises UserError if it is not installed."""
    try:
        import diffusers
    except ImportError as error:
        raise UserError(
            "the network 'diffusers' requires the package diffusers: pip install 'genmods[diffusers]'"
        ) from error
    return diffusers


def new_unet(
    diffusers: ModuleType,
    in_channels: int,
    image_size: int | tuple[int, int],
    channels: tuple[int, ...],
    blocks: int,
    attention: tuple[int, ...],
    num_classes: int,
) -> Any:
    """A new UNet2DModel; with classes, its label table has an additional row for the null label."""
    levels = len(channels)
    attended = [level in {a % levels for a in attention} for level in range(levels)]
    return diffusers.UNet2DModel(
        sample_size=image_size,
        in_channels=in_channels,
        out_channels=in_channels,
        block_out_channels=tuple(channels),
        layers_per_block=blocks,
        norm_num_groups=8,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attended),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attended)),
        num_class_embeds=num_classes + 1 if num_classes else None,
    )


def saved_pipeline(diffusers: ModuleType, path: Path) -> tuple[Any, Any]:
    """Network and noise schedule of a pipeline saved in the folder `path`; only safetensors files are read."""
    if not (path / "unet").is_dir() or not (path / "scheduler").is_dir():
        raise ValueError(f"path must be a saved diffusers pipeline with unet/ and scheduler/, got {path}")
    unet = diffusers.UNet2DModel.from_pretrained(path, subfolder="unet", use_safetensors=True)
    return unet, diffusers.DDPMScheduler.from_pretrained(path, subfolder="scheduler")
