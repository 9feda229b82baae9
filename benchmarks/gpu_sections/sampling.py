"""DDIM in 50 steps, ours against diffusers' pipeline: bfloat16, channels-last, untrained weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from common import layout
from peers import SIZE
from torch import Tensor

from genmods.diffusion import CosineProcess, DDIMSampler, Denoiser, Estimate, VPrediction, noise_stream
from genmods.diffusion.denoiser import DenoiserWrapper
from genmods.networks.unet import UNet
from gpu_sections.job import Figures, Job
from gpu_sections.networks import Case, Replay, cases, compiled
from gpu_sections.training import times_as_fast


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    found = {}
    for name, case in cases(job).items():
        peer = ("sampling", f"{name}: diffusers")
        found[f"{name}: diffusers"] = partial(diffusers, job, case)
        found[f"{name}: ours"] = partial(ours, job, case, peer)
        found[f"{name}: ours, CUDA graph"] = partial(ours, job, case, peer, graph=True)
    return found


@dataclass(frozen=True)
class Graphed(DenoiserWrapper):
    """A denoiser whose calls replay a CUDA graph."""

    replay: Replay

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        return self.replay(x_t, t)


def ours(job: Job, case: Case, peer: tuple[str, str], graph: bool = False, compile: bool = False) -> Figures:
    network = UNet(**{**case.ours, "in_channels": case.channels})
    denoiser: Any = Denoiser(network, CosineProcess(), VPrediction()).eval()
    denoiser.to(job.device, memory_format=layout(job.device))
    if compile:
        compiled(network, job)
    n, sampler = case.batch, DDIMSampler(job.size(50, 2))
    noise = noise_stream(0, torch.arange(n), (case.channels, SIZE, SIZE), job.device)
    with torch.no_grad(), torch.autocast(job.device, torch.bfloat16):
        if graph:
            t = torch.full((n,), 0.5, dtype=torch.float64, device=job.device)
            denoiser = Graphed(denoiser, Replay(denoiser, [case.images(job), t], job))

        return figures(job, lambda: sampler.sample(denoiser, noise), n, peer)


def diffusers(job: Job, case: Case, peer: tuple[str, str] | None = None, compile: bool = False) -> Figures:
    network = case.diffusers_network().to(job.device, memory_format=layout(job.device)).eval()
    from diffusers import DDIMPipeline, DDIMScheduler

    if compile:
        compiled(network, job)
    pipeline = DDIMPipeline(network, DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    n, steps = case.batch, job.size(50, 2)
    with torch.autocast(job.device, torch.bfloat16):
        sample = partial(pipeline, batch_size=n, num_inference_steps=steps, output_type="np")
        return figures(job, sample, n, peer)


def figures(job: Job, sample: Callable[[], object], n: int, peer: tuple[str, str] | None) -> Figures:
    """The time of `n` images and what it makes per second."""
    seconds = job.seconds_of(sample, calls=1, rounds=3, warm_up=1)
    rate = {"images": n, "ms": round(1e3 * seconds, 2), "images/s": round(n / seconds, 1)}
    return {**rate, **times_as_fast(job, 1e3 * seconds, peer)}
