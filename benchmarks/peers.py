"""The peers' U-Nets at the size that is compared: 1.4 to 1.7 M parameters, 1 x 32 x 32, attention at 8 x 8."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SIZE = 32


def diffusers_unet() -> Any:
    """diffusers' UNet2DModel at its defaults but for channels and levels: 1.62 M parameters, 2.18 GFLOP an image."""
    from diffusers import UNet2DModel

    return UNet2DModel(
        sample_size=SIZE,
        in_channels=1,
        out_channels=1,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )


def attention_in_float32(network: nn.Module) -> Any:
    """The same diffusers network, its attention out of autocast: bfloat16 heads of 8 channels are slow on a CPU."""
    from diffusers.models.attention_processor import Attention

    for module in network.modules():
        if isinstance(module, Attention):
            module.forward = in_float32(module.forward)
    return network


def in_float32(forward: Any) -> Any:
    def call(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float(), *args, **kwargs)

    return call


def lucidrains_diffusion(sampling_steps: int | None = None) -> Any:
    """denoising-diffusion-pytorch at its defaults but for widths: 1.41 M parameters, 2.06 GFLOP an image."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    network = Unet(dim=32, dim_mults=(1, 2, 2), channels=1)
    return GaussianDiffusion(network, image_size=SIZE, sampling_timesteps=sampling_steps)
