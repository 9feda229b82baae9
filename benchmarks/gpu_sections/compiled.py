"""Training step and sampling with `torch.compile`, ours and diffusers; each row first compiles for up to a minute."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gpu_sections import sampling
from gpu_sections.job import Figures, Job
from gpu_sections.networks import cases
from gpu_sections.training import step


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    found = {}
    for name, case in cases(job).items():
        peer = ("compiled", f"{name}: diffusers, step")
        train = partial(step, job, case, compile=True)
        found[f"{name}: ours, step"] = partial(train, case.our_training, ("training", f"{name}: diffusers"))
        found[f"{name}: diffusers, step"] = partial(train, case.diffusers_training)
        found[f"{name}: ours, step, CUDA graph"] = partial(train, case.our_training, peer, graph=True)
    for name, case in cases(job).items():
        peer = ("compiled", f"{name}: diffusers, samples")
        found[f"{name}: diffusers, samples"] = partial(sampling.diffusers, job, case, compile=True)
        found[f"{name}: ours, samples"] = partial(sampling.ours, job, case, peer, compile=True)
        found[f"{name}: ours, samples, CUDA graph"] = partial(sampling.ours, job, case, peer, graph=True, compile=True)
    return found
