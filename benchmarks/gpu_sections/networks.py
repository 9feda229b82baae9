"""The U-Nets that are measured, ours and diffusers' at like cost, and what a GPU is given to run them fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
import training_step
from common import layout
from peers import SIZE, diffusers_unet
from torch import Tensor, nn
from training_step import Training

from gpu_sections.job import Job, NotMeasured

WARM_UP = 5


@dataclass(frozen=True)
class Case:
    """A pair of U-Nets: settings of ours, widths and attended level of diffusers', and the batch."""

    ours: dict[str, Any]
    channels: int
    widths: tuple[int, ...]
    attended: int
    batch: int

    def images(self, job: Job, batch: int | None = None) -> Tensor:
        """Random images [batch, channels, 32, 32] in [-1, 1], channels-last on a GPU."""
        images = torch.rand(batch or self.batch, self.channels, SIZE, SIZE, device=job.device) * 2 - 1
        return images.to(memory_format=layout(job.device))

    def our_training(self, job: Job) -> Training:
        settings = {**self.ours, "in_channels": self.channels}
        return training_step.ours("ours", settings, True, job.device)

    def diffusers_network(self) -> Any:
        if find_spec("diffusers") is None:
            raise NotMeasured("diffusers is not installed")
        return diffusers_unet(self.channels, self.widths, self.attended)

    def diffusers_training(self, job: Job) -> Training:
        return training_step.diffusers("diffusers", True, job.device, layout(job.device), self.diffusers_network())


SMALL = Case(training_step.OURS, channels=1, widths=(32, 64, 64), attended=2, batch=256)
"""The pair of `training_step.py`: 2.6 and 1.6 M parameters, 2.19 and 2.18 GFLOP per image, forward and backward."""
CIFAR = Case(
    {"width": 128, "multipliers": (1, 2, 2, 2), "blocks": 3, "attention": (1,)},
    channels=3,
    widths=(128, 256, 256, 256),
    attended=1,
    batch=128,
)
"""DDPM's network for CIFAR-10 and ours of its widths: 35.7 and 38.5 M parameters, 37.3 and 40.0 GFLOP per image."""
TOY = Case({"width": 8, "multipliers": (1, 2), "blocks": 1}, channels=1, widths=(32, 32), attended=1, batch=2)


def cases(job: Job) -> dict[str, Case]:
    return job.size({"cifar": CIFAR, "small": SMALL}, {"toy": TOY})


def compiled(network: nn.Module, job: Job) -> None:
    """`torch.compile` in place; tests, which have no minutes to wait for code, take the backend that makes none."""
    network.compile(backend=job.size("inductor", "eager"))


class Replay:
    """A call on tensors of fixed shapes as a CUDA graph: one launch in place of thousands.

    The next call overwrites the result. Raises NotMeasured without a CUDA device.
    """

    def __init__(self, call: Callable[..., Any], inputs: Sequence[Tensor], job: Job) -> None:
        if job.device != "cuda":
            raise NotMeasured("CUDA graphs need a CUDA device")
        self.inputs = [tensor.clone() for tensor in inputs]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                call(*self.inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.result = call(*self.inputs)

    def __call__(self, *inputs: Tensor) -> Any:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.result
