"""What a network learns that is trained for one hole of Fashion-MNIST and nothing else: the measure of inpainting.

    python benchmarks/one_hole.py [--steps 3400] [--n 64]

trains, for each hole, a residual perceptron from the known pixels to the missing ones for its squared error, and prints
the PSNR in the hole on all test images and on the first `--n`: averaged over images, and of the averaged error
("pooled"). It is an estimate of the posterior's mean; the mean of K exact draws would have 10 log10(1 + 1/K) dB less.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from genmods.core.precision import BFLOAT16, resolve
from genmods.data.sources.mnist import FashionMNIST
from genmods.optim.schedules import CosineSchedule
from restoration import MASKS, figures


class Residual(nn.Module):
    """x + f(x), f a perceptron with one hidden layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(0.2), nn.Linear(width, width)
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def perceptron(known: int, missing: int, width: int = 1024, blocks: int = 3) -> nn.Sequential:
    inner = [Residual(width) for _ in range(blocks)]
    return nn.Sequential(nn.Linear(known, width), *inner, nn.LayerNorm(width), nn.Linear(width, missing))


def train(x: Tensor, y: Tensor, steps: int, batch: int = 256) -> nn.Sequential:
    """A perceptron from `x` [N, known] to `y` [N, missing], for their squared error."""
    torch.manual_seed(0)
    net = perceptron(x.shape[1], y.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = CosineSchedule(optimizer, steps, warmup=200)
    reduced = resolve("auto", torch.device("cpu")).value == BFLOAT16
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,))
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            loss = (net(x[rows]) - y[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def measure(hole: str, steps: int, n: int) -> None:
    data = FashionMNIST().read()
    images, test = (data[split].pixels.float() / 127.5 - 1 for split in ("train", "test"))
    known = MASKS[hole].known(test[:1]).expand(1, 1, *test.shape[2:])
    inside = known.flatten()
    with torch.enable_grad():
        net = train(images.flatten(1)[:, inside], images.flatten(1)[:, ~inside], steps)
    filled = test.flatten(1).clone()
    filled[:, ~inside] = net(filled[:, inside]).clamp(-1, 1)
    filled = filled.view_as(test)
    for count in (len(test), n):
        f = figures(filled[:count], test[:count], ~known)
        cells = f"{f['psnr']:.2f} +- {f['se']:.2f}  pooled {f['pooled']:.2f} +- {f['pooled_se']:.2f}"
        print(f"{hole:<14}n {count:<7}{cells}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3400, help="of training, for each hole")
    parser.add_argument("--n", type=int, default=64, help="the first test images, reported apart")
    parser.add_argument("--holes", nargs="*", choices=list(MASKS), default=list(MASKS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for hole in options.holes:
        measure(hole, options.steps, options.n)


if __name__ == "__main__":
    main()
