"""Gradients of networks in the layout that training gives them, beside those in float64.

    PYTHONPATH=tests python -m support.layouts NAME ...

Each network is trained in separate processes, with 1 and 2 threads, since a fault of the CPU's library ends or hangs
a process. Prints a line for each that went wrong. `ENVIRONMENT` is for the process as a whole.
"""

import os
import signal
import sys

import torch

from genmods.networks.base import Network
from genmods.networks.layout import memory_format
from support.networks import DENOISERS, SMALL, small

SECONDS = 120
ENVIRONMENT = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_WAIT_POLICY": "passive"}
"""Kernels that every x86 machine of the last ten years has; waiting threads leave a busy machine to others."""
SIZE = 16
VARIANTS = {
    "cnn, a strided convolution": ("cnn", {"layers": ["conv 4", "conv 8 3 2", "pool 2"]}),
    "cnn, a strided 1x1": ("cnn", {"layers": ["conv 4", "conv 8 1 2", "pool 2"]}),
    "convnext, two stages": ("convnext", {"widths": (4, 8), "blocks": (1, 1)}),
    "convnext, patch 1": ("convnext", {"patch": 1}),
    "resnet, two stages": ("resnet", {"blocks": (1, 1)}),
    "resnet, bottlenecks": ("resnet", {"width": 1, "blocks": (1, 1), "block": "bottleneck"}),
    "resnet, strided": ("resnet", {"blocks": (1, 1), "shortcut": "strided"}),
    "timm, FastViT": ("timm", {"in_channels": 3, "architecture": "fastvit_t8"}),
    "torchvision, ShuffleNet": ("torchvision", {"architecture": "shufflenet_v2_x0_5", "resize": None}),
    "unet, patch 2": ("unet", {"patch": 2}),
}
"""Networks that have, or might have, a strided 1x1 convolution."""
NETWORKS: dict[str, tuple[str, dict]] = {name: (name, {}) for name in SMALL} | VARIANTS
"""Kind and settings by name."""


def build(name: str) -> Network:
    kind, settings = NETWORKS[name]
    torch.manual_seed(0)
    network = small(kind, **(settings | ({"image_size": SIZE} if "image_size" in SMALL[kind] else {})))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))  # some layers start at zero, which hides the layers before them
    return network


def inputs(name: str, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """What a network of this name is called with: images, with noise levels for a denoiser, or latent vectors."""
    kind, settings = NETWORKS[name]
    generator = torch.Generator().manual_seed(1)
    if kind == "generator":
        return (torch.randn(32, SMALL[kind]["latent"], generator=generator).to(dtype),)
    images = torch.randn(32, settings.get("in_channels", 2), SIZE, SIZE, generator=generator).to(dtype)
    return (images, torch.zeros(32, dtype=dtype)) if kind in DENOISERS else (images,)


def gradient(network: Network, arguments: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The gradient of a sum of squares in all weights, as one vector in float64."""
    network.zero_grad()
    network(*arguments).square().sum().backward()
    return torch.cat([p.grad.double().flatten() for p in network.parameters() if p.grad is not None])


def fault(name: str) -> str:
    """What is wrong with the gradients of the network `name`; nothing where all is well."""
    network = build(name).eval()  # running statistics: those of a batch would amplify rounding
    expected = gradient(network.double(), inputs(name, torch.float64))
    layout = memory_format(network)
    network = network.float().to(memory_format=layout)
    arguments = inputs(name, torch.float32)
    if arguments[0].ndim == 4:
        arguments = arguments[0].contiguous(memory_format=layout), *arguments[1:]
    for _ in range(3):
        error = (gradient(network, arguments) - expected).norm() / expected.norm()
        if not error < 1e-3:
            return f"gradients in {layout} are off by {error:.1e}"
    return ""


def outcome(name: str, threads: int) -> str:
    """`fault` in a forked process on `threads` threads; a crash or a hang is a fault too."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(SECONDS)
        torch.set_num_threads(threads)
        os.write(writer, fault(name).encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 1000).decode()
    os.close(reader)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if ended == -signal.SIGALRM:
        return f"hangs: no gradient in {SECONDS} s"
    return said if ended == 0 else f"ends with status {ended}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        build(name)  # imports its library for both processes
        for threads in (1, 2):
            if text := outcome(name, threads):
                print(f"{name}, threads: {threads}: {text}", flush=True)
