"""Memory and rate of a training step of our larger U-Net by the size of the batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from gpu_sections.job import Figures, Job, NotMeasured
from gpu_sections.networks import cases


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    return {f"batch {batch}": partial(step, job, batch) for batch in job.size((64, 128, 256, 512, 1024), (2, 4))}


def step(job: Job, batch: int) -> Figures:
    case = next(iter(cases(job).values()))
    training, images = case.our_training(job), case.images(job, batch)
    try:
        seconds = job.seconds_of(lambda: training.step(images), calls=3, rounds=2)
    except torch.OutOfMemoryError:
        raise NotMeasured("out of memory") from None
    return {"images/s": round(batch / seconds, 1), **peak(lambda: training.step(images), job)}


def peak(call: Callable[[], object], job: Job) -> Figures:
    """The most memory that tensors take during a call, GiB; nothing on a CPU."""
    if job.device != "cuda":
        return {}
    torch.cuda.reset_peak_memory_stats()
    call()
    return {"GiB": round(torch.cuda.max_memory_allocated() / 2**30, 2)}
