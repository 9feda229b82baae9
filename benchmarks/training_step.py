"""A complete training step of a U-Net (forward, backward, clipping, AdamW, EMA), ours against diffusers and lucidrains.

1 x 32 x 32, batch 64, attention at 8 x 8. "ours" and "ours, 2x2 patches" have the FLOPs of the peers, about 2.18 GFLOP
an image forward and backward (lucidrains a little less), "ours, few FLOPs" has their parameters. Each peer trains the
way its own script does, in the faster of both memory formats. Rows in bfloat16 need a device that computes it natively.

    python benchmarks/training_step.py --rounds 10 --out results/training_step.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import alternate, faster_format, gflop_per_image, layout, report, summary, times_as_fast_as
from peers import SIZE, attention_in_float32, diffusers_unet, lucidrains_diffusion
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genmods.core.devices import default_device
from genmods.core.precision import native_bfloat16
from genmods.diffusion import CosineProcess, Denoiser, DiffusionLoss, VPrediction
from genmods.networks.unet import UNet

OURS = {"width": 32, "multipliers": (1, 4, 5), "blocks": 1}
SHAPES = {
    "ours": OURS,
    "ours, 2x2 patches": {"width": 16, "multipliers": (8, 13), "blocks": 1, "patch": 2},
    "ours, few FLOPs": {"width": 32, "multipliers": (2, 5), "blocks": 1, "patch": 2},
}
SAME_SHAPE = {"ours, widths of diffusers": {"width": 32, "multipliers": (1, 2, 2), "blocks": 3}}


class Training:
    """A network, the loss of a batch, and what follows the loss."""

    def __init__(self, name: str, parameters: nn.Module, loss: Callable[[Tensor], Tensor], optimizer, average, reduced):
        self.name, self.parameters, self.loss = name, parameters, loss
        self.optimizer, self.average, self.reduced = optimizer, average, reduced

    def step(self, images: Tensor) -> Tensor:
        """A training step on `images` [B, C, H, W]; returns the loss, without waiting for the device."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.reduced):
            loss = self.loss(images)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.parameters(), 1.0)
        self.optimizer.step()
        self.average()
        return loss.detach()

    def size(self, images: Tensor) -> dict[str, float]:
        """Millions of parameters, and GFLOP of a forward and backward pass an image."""
        parameters = sum(p.numel() for p in self.parameters.parameters()) / 1e6
        gflop = gflop_per_image(lambda: self.step(images), len(images))
        return {"parameters_M": round(parameters, 3), "gflop_per_image": gflop}


def ours(name: str, settings: dict, reduced: bool, device: str) -> Training:
    denoiser = Denoiser(UNet(**settings), CosineProcess(), VPrediction()).to(device)
    criterion = DiffusionLoss()
    weights = list(denoiser.network.parameters())
    shadows, average = [weight.detach().clone() for weight in weights], get_ema_multi_avg_fn(0.999)
    return Training(
        name,
        denoiser,
        lambda images: criterion(denoiser, images).per_sample.mean(),
        torch.optim.AdamW(denoiser.parameters(), 1e-4, fused=True, capturable=device == "cuda"),
        lambda: average(shadows, weights, 0),
        reduced,
    )


def diffusers(
    name: str, reduced: bool, device: str, memory_format: torch.memory_format, network: Any = None
) -> Training:
    """The loop of diffusers' train_unconditional example; `network` is `diffusers_unet()` unless given."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    network = (network or diffusers_unet()).to(device, memory_format=memory_format)
    if reduced and device == "cpu":
        attention_in_float32(network)
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    ema = EMAModel(network.parameters(), use_ema_warmup=True)

    def loss(images: Tensor) -> Tensor:
        noise = torch.randn_like(images)
        steps = torch.randint(0, 1000, (len(images),), device=images.device)
        output = network(scheduler.add_noise(images, noise, steps), steps).sample
        return F.mse_loss(output.float(), noise)

    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    return Training(name, network, loss, optimizer, lambda: ema.step(network.parameters()), reduced)


def lucidrains(name: str, device: str, memory_format: torch.memory_format) -> Training:
    """The loop of lucidrains' Trainer, which averages weights every tenth step."""
    from ema_pytorch import EMA

    diffusion = lucidrains_diffusion().to(device, memory_format=memory_format)
    ema = EMA(diffusion, beta=0.995, update_every=10)
    optimizer = torch.optim.Adam(diffusion.parameters(), 1e-4, betas=(0.9, 0.99))
    return Training(name, diffusion, lambda images: diffusion((images + 1) / 2), optimizer, ema.update, False)


def peers(device: str) -> list[Callable[[torch.memory_format], Training]]:
    """The peers' trainings as functions of the memory format, in each precision that makes sense on `device`."""
    found = [partial(diffusers, "diffusers fp32", False, device), partial(lucidrains, "lucidrains fp32", device)]
    if native_bfloat16(torch.device(device)):
        found.append(partial(diffusers, "diffusers bf16, attention fp32", True, device))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = default_device().type
    images = (torch.rand(arguments.batch, 1, SIZE, SIZE, device=device) * 2 - 1).to(memory_format=layout(device))
    trainings = [faster_format(make, lambda peer: peer.step(images)) for make in peers(device)]
    trainings += [ours(f"{name}, fp32", settings, False, device) for name, settings in SHAPES.items()]
    if native_bfloat16(images.device):
        trainings += [ours(f"{name}, bf16", settings, True, device) for name, settings in (SHAPES | SAME_SHAPE).items()]
    sizes = {training.name: training.size(images) for training in trainings}
    seconds = alternate({t.name: lambda t=t: t.step(images) for t in trainings}, arguments.rounds)
    ratios = times_as_fast_as(seconds)
    rows = {name: {**sizes[name], **summary(seconds[name]), "times_as_fast_as": ratios[name]} for name in seconds}
    report({"what": "training step", "batch": arguments.batch, "rounds": arguments.rounds, "rows": rows}, arguments.out)


if __name__ == "__main__":
    main()
