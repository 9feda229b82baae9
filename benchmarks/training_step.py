"""A complete training step of a U-Net (forward, backward, clipping, AdamW, EMA), ours against diffusers and lucidrains.

1 x 32 x 32, batch 64, attention at 8 x 8, about 2.18 GFLOP an image forward and backward (lucidrains a little less);
and as a row of its own a 2 x 2 patch stem with as many parameters. Each peer trains the way its own script does.

    python benchmarks/training_step.py --rounds 10 --out results/training_step.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import alternate, layout, ratio, report, summary
from peers import SIZE, attention_in_float32, diffusers_unet, lucidrains_diffusion
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.flop_counter import FlopCounterMode

from genmods.core.devices import default_device
from genmods.diffusion import CosineProcess, Denoiser, DiffusionLoss, VPrediction
from genmods.networks.unet import UNet

OURS = {"width": 32, "multipliers": (1, 4, 3), "blocks": 1}
SAME_SHAPE = {"width": 32, "multipliers": (1, 2, 2), "blocks": 3}
PATCHED = {"width": 32, "multipliers": (2, 5), "blocks": 1, "patch": 2}


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
        with FlopCounterMode(display=False) as counter:
            self.step(images)
        parameters = sum(p.numel() for p in self.parameters.parameters()) / 1e6
        gflop = counter.get_total_flops() / len(images) / 1e9
        return {"parameters_M": round(parameters, 3), "gflop_per_image": round(gflop, 3)}


def ours(name: str, settings: dict, reduced: bool, device: str) -> Training:
    denoiser = Denoiser(UNet(**settings), CosineProcess(), VPrediction()).to(device, memory_format=layout(device))
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


def diffusers(name: str, reduced: bool, device: str, network: Any = None) -> Training:
    """The loop of diffusers' train_unconditional example; `network` is `diffusers_unet()` unless given."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    network = (network or diffusers_unet()).to(device, memory_format=layout(device))
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


def lucidrains(name: str, device: str) -> Training:
    """The loop of lucidrains' Trainer, which averages weights every tenth step."""
    from ema_pytorch import EMA

    diffusion = lucidrains_diffusion().to(device)
    ema = EMA(diffusion, beta=0.995, update_every=10)
    optimizer = torch.optim.Adam(diffusion.parameters(), 1e-4, betas=(0.9, 0.99))
    return Training(name, diffusion, lambda images: diffusion((images + 1) / 2), optimizer, ema.update, False)


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
    trainings = [
        ours("ours", OURS, True, device),
        diffusers("diffusers fp32", False, device),
        diffusers("diffusers bf16, attention fp32", True, device),
        lucidrains("lucidrains fp32", device),
        ours("ours fp32", OURS, False, device),
        ours("ours, widths of diffusers", SAME_SHAPE, True, device),
        ours("ours, 2x2 patches", PATCHED, True, device),
    ]
    sizes = {training.name: training.size(images) for training in trainings}
    seconds = alternate({t.name: lambda t=t: t.step(images) for t in trainings}, arguments.rounds)
    rows = {name: {**sizes[name], **summary(seconds[name])} for name in seconds}
    for name, row in rows.items():
        row["times_as_fast_as"] = {
            peer: ratio(seconds[peer], seconds[name]) for peer in seconds if peer[0] in "dl" and name.startswith("ours")
        }
    report({"what": "training step", "batch": arguments.batch, "rounds": arguments.rounds, "rows": rows}, arguments.out)


if __name__ == "__main__":
    main()
