"""The peers' U-Nets at the sizes that are compared: 1.4 to 1.7 M parameters, 1 x 32 x 32, attention at 8 x 8; and
conditioned on classes, 3 x 64 x 64, attention at 8 x 8, 1.2 GFLOP per image forward and backward, as emoji/ddpm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SIZE, COLOUR_SIZE = 32, 64


def diffusers_unet(
    channels: int = 1, widths: tuple[int, ...] = (32, 64, 64), attended: int = 2, size: int = SIZE, **settings: Any
) -> Any:
    """diffusers' UNet2DModel at its defaults but for channels, levels and `settings`, with attention at the level
    `attended`.

    The defaults here make 1.62 M parameters and 2.18 GFLOP per image.
    """
    from diffusers import UNet2DModel

    kinds = ["Attn" if level == attended else "" for level in range(len(widths))]
    return UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        **settings,
    )


def diffusers_in_colour(classes: int) -> Any:
    """diffusers' UNet2DModel with class labels at 3 x 64 x 64: 1.06 M parameters, 1.23 GFLOP per image."""
    shape: dict[str, Any] = {"channels": 3, "widths": (8, 16, 40, 64), "attended": 3, "size": COLOUR_SIZE}
    return diffusers_unet(**shape, norm_num_groups=8, num_class_embeds=classes)


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


def lucidrains_in_colour(classes: int, sampling_steps: int | None = None) -> Any:
    """denoising-diffusion-pytorch's classifier_free_guidance with class labels at 3 x 64 x 64.

    0.98 M parameters, 1.20 GFLOP per image. It has the objective of the unconditional module (v), DDIM without noise,
    and labels that are dropped as rarely as ours; narrower linear attention leaves more FLOPs for the convolutions.
    """
    from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, LinearAttention, Unet

    class Network(Unet):
        def forward_with_cond_scale(self, *inputs: Any, cond_scale: float = 1.0, **settings: Any) -> Any:
            """The pair that sampling expects also without guidance, for which the parent returns one tensor."""
            if cond_scale != 1:
                return super().forward_with_cond_scale(*inputs, cond_scale=cond_scale, **settings)
            return (self(*inputs, cond_drop_prob=0.0),) * 2

    network = Network(10, classes, cond_drop_prob=0.1, init_dim=8, channels=3)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, LinearAttention):
                setattr(module, name, LinearAttention(child.to_out[0].out_channels, heads=1))
    settings = {"objective": "pred_v", "ddim_sampling_eta": 0.0}
    return GaussianDiffusion(network, image_size=COLOUR_SIZE, sampling_timesteps=sampling_steps, **settings)
