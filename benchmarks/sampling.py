"""Images per second of a 50-step DDIM, ours against diffusers and lucidrains, with U-Nets of like FLOPs.

1 x 32 x 32, attention at 8 x 8, untrained weights: time does not depend on them. The sampler is the same, in each
library's own code; the networks are those of `training_step.py`, the peers' in the faster of both memory formats.

    python benchmarks/sampling.py --rounds 5 --out results/sampling.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import alternate, faster_format, report, summary, times_as_fast_as
from peers import SIZE, attention_in_float32, diffusers_unet, lucidrains_diffusion
from training_step import SAME_SHAPE, SHAPES

from genmods.core.devices import default_device
from genmods.core.precision import native_bfloat16
from genmods.diffusion import CosineProcess, DDIMSampler, Denoiser, VPrediction, noise_stream
from genmods.networks.unet import UNet

Sample = Callable[[], object]


def ours(settings: dict, reduced: bool, images: int, steps: int, device: str) -> Sample:
    denoiser = Denoiser(UNet(**settings), CosineProcess(), VPrediction()).to(device).eval()
    sampler, noise = DDIMSampler(steps), noise_stream(0, torch.arange(images), (1, SIZE, SIZE), device)

    def sample() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=reduced):
            return sampler.sample(denoiser, noise)

    return sample


def diffusers(reduced: bool, images: int, steps: int, device: str, layout: torch.memory_format) -> Sample:
    from diffusers import DDIMPipeline, DDIMScheduler

    network = diffusers_unet().to(device, memory_format=layout).eval()
    pipeline = DDIMPipeline(attention_in_float32(network) if reduced else network, DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)

    def sample() -> object:
        with torch.autocast(device, torch.bfloat16, enabled=reduced):
            return pipeline(batch_size=images, num_inference_steps=steps, output_type="np").images

    return sample


def lucidrains(images: int, steps: int, device: str, layout: torch.memory_format) -> Sample:
    diffusion = lucidrains_diffusion(sampling_steps=steps).to(device, memory_format=layout).eval()
    return lambda: diffusion.sample(batch_size=images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = default_device().type
    shared = (arguments.images, arguments.steps, device)
    peers = {"diffusers fp32": partial(diffusers, False, *shared), "lucidrains fp32": partial(lucidrains, *shared)}
    samples = {f"{name}, fp32": ours(settings, False, *shared) for name, settings in SHAPES.items()}
    if native_bfloat16(torch.device(device)):
        peers["diffusers bf16, attention fp32"] = partial(diffusers, True, *shared)
        samples |= {f"{name}, bf16": ours(settings, True, *shared) for name, settings in (SHAPES | SAME_SHAPE).items()}
    samples = {name: faster_format(build, lambda sample: sample()) for name, build in peers.items()} | samples
    seconds = alternate(samples, arguments.rounds, warm_up=1)
    ratios = times_as_fast_as(seconds)
    rows: dict[str, Any] = {name: dict(summary(times)) for name, times in seconds.items()}
    for name, row in rows.items():
        row["images_per_second"] = round(1e3 * arguments.images / row["median_ms"], 2)
        row["times_as_fast_as"] = ratios[name]
    settings = {"images": arguments.images, "steps": arguments.steps, "rounds": arguments.rounds}
    report({"what": "sampling, DDIM", **settings, "rows": rows}, arguments.out)


if __name__ == "__main__":
    main()
