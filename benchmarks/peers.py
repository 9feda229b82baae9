"""The peers' U-Nets at the size that is compared: 1.4 to 1.7 M parameters, 1 x 32 x 32, attention at 8 x 8."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SIZE = 32


def diffusers_unet(channels: int = 1, widths: tuple[int, ...] = (32, 64, 64), attended: int = 2) -> Any:
    """diffusers' UNet2DModel at its defaults but for channels and levels, with attention at the level `attended`.

    The defaults here make 1.62 M parameters and 2.18 GFLOP per image.
    """
    from diffusers import UNet2DModel

    kinds = ["Attn" if level == attended else "" for level in range(len(widths))]
    return UNet2DModel(
        sample_size=SIZE,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
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
    """denoising-diffusion-pytorch at its defaults but for widths: 1.41 M parameters, 2.06 GFLOP per image."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    network = Unet(dim=32, dim_mults=(1, 2, 2), channels=1)
    return GaussianDiffusion(network, image_size=SIZE, sampling_timesteps=sampling_steps)
