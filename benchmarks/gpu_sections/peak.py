"""What the device can do at most: matrix products, a convolution as in a U-Net, a copy in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from gpu_sections.job import Figures, Job


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    return {
        "bf16 matmul": partial(matmul, job, torch.bfloat16),
        "tf32 matmul": partial(matmul, job, torch.float32),
        "bf16 convolution": partial(convolution, job),
        "copy": partial(copy, job),
    }


def matmul(job: Job, dtype: torch.dtype) -> Figures:
    """A product of two square matrices of random numbers (zeros would be faster)."""
    side = job.size(8192, 64)
    a, b = (torch.randn(side, side, device=job.device, dtype=dtype) for _ in range(2))
    seconds = job.seconds_of(lambda: a @ b)
    return {"side": side, "ms": round(1e3 * seconds, 3), "TFLOP/s": round(2 * side**3 / seconds / 1e12, 4)}


def convolution(job: Job) -> Figures:
    """3 x 3, 256 channels, channels-last, forward."""
    batch, channels, side = job.size((256, 256, 32), (2, 8, 8))
    options = {"device": job.device, "dtype": torch.bfloat16}
    x = torch.randn(batch, channels, side, side, **options).to(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3, **options).to(memory_format=torch.channels_last)
    seconds = job.seconds_of(lambda: F.conv2d(x, weight, padding=1))
    tflops = 2 * 9 * batch * side**2 * channels**2 / seconds / 1e12
    return {"ms": round(1e3 * seconds, 3), **job.share_of_peak(tflops)}


def copy(job: Job) -> Figures:
    """Device to device, bytes read and bytes written counted."""
    source = torch.randint(256, (job.size(2**30, 2**16),), device=job.device, dtype=torch.uint8)
    target = torch.empty_like(source)
    seconds = job.seconds_of(lambda: target.copy_(source))
    return {"ms": round(1e3 * seconds, 3), "GB/s": round(2 * source.numel() / seconds / 1e9, 1)}
