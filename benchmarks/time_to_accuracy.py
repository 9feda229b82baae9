"""Seconds of training to 92 % of the 10,000 test images of Fashion-MNIST, all within one run:

  ours      recipes/fashion_mnist/fast.yaml, trained by Lightning's Trainer
  tutorial  a plain loop as tutorials have it: torchvision's resnet18 with one input channel, torchvision transforms on
            each image, a DataLoader with 2 workers, Adam
  timm      timm's resnet18 with the defaults of its training script (SGD, warm-up and cosine, label smoothing, random
            resized crops, flips, 2 workers), shrunk to the data: 28 pixels, one channel, crops of at least half of the
            image, `--timm_epochs` epochs

Each peer trains in the faster of float32 and bfloat16 autocast, measured on a few steps, and at the best of three
learning rates: the first round tries all three, the later ones keep the one that arrived first or was most accurate.
The clock counts training and loading, not the reading of the files, nor the tests after each epoch, for all alike. A
peer's run ends after `--caps` times the slowest run of ours, and counts as that long.

    python benchmarks/time_to_accuracy.py --out time_to_accuracy.json
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import alternate, report
from race import Race, ours
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from genmods.config.recipe import load
from genmods.data.images import Images
from genmods.runs.fit import build_data

MEAN, STD = 0.286, 0.353  # of Fashion-MNIST on [0, 1], as tutorials quote them
HOUR = 3600.0
RECIPE = Path(__file__).parents[1] / "recipes/fashion_mnist/fast.yaml"


class PerSample(Dataset):
    """One image a call, through a transform of PIL images."""

    def __init__(self, images: Images, transform: Callable):
        self.images = images
        self.transform = transform
        self.picture = transforms.ToPILImage()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.picture(self.images.pixels[index])), int(self.images.labels[index])


@dataclass
class Loop:
    """The training loop of tutorials; `each_epoch` is called with the number of an epoch before it."""

    network: nn.Module
    batches: Iterable
    optimizer: torch.optim.Optimizer
    smoothing: float = 0.0
    each_epoch: Callable[[int], object] = lambda epoch: None
    epochs: int | None = None

    def step(self, images: Tensor, labels: Tensor, reduced: bool) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=reduced):
            loss = F.cross_entropy(self.network(images), labels, label_smoothing=self.smoothing)
        loss.backward()
        self.optimizer.step()

    def run(self, race: Race, reduced: bool) -> None:
        """Train to the end of the race, or for `epochs`."""
        race.start()
        for epoch in count() if self.epochs is None else range(self.epochs):
            self.each_epoch(epoch)
            for images, labels in self.batches:
                self.step(images, labels, reduced)
                if race.late():
                    return race.pause()
            self.network.eval()
            with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
                over = race.judge(lambda images: self.network(((images + 1) / 2 - MEAN) / STD))
            if over:
                return None
            self.network.train()


def tutorial(train: Images, lr: float) -> Loop:
    network = models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    transform = transforms.Compose([
        transforms.RandomCrop(28, padding=2),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    batches = DataLoader(PerSample(train, transform), 128, shuffle=True, num_workers=2)
    return Loop(network, batches, torch.optim.Adam(network.parameters(), lr))


def timm(train: Images, lr: float, epochs: int) -> Loop:
    from timm import create_model
    from timm.data import create_transform
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2

    network = create_model("resnet18", in_chans=1, num_classes=10)
    transform = create_transform(
        (1, 28, 28),
        is_training=True,
        scale=(0.5, 1),
        color_jitter=None,
        interpolation="bilinear",
        mean=(MEAN,),
        std=(STD,),
    )
    batches = DataLoader(PerSample(train, transform), 128, shuffle=True, num_workers=2, drop_last=True)
    optimizer = create_optimizer_v2(network, "sgd", lr=lr, weight_decay=2e-5, momentum=0.9)
    schedule, _ = create_scheduler_v2(optimizer, "cosine", epochs, warmup_epochs=max(1, epochs // 60), warmup_lr=1e-5)
    return Loop(network, batches, optimizer, smoothing=0.1, each_epoch=schedule.step, epochs=epochs)


RATES = {"tutorial": (3e-4, 1e-3, 3e-3), "timm": (0.02, 0.05, 0.1)}


def reduced_is_faster(make: Callable[[], Loop], steps: int = 4) -> bool:
    """Whether a training step of a peer takes less time under bfloat16 autocast, by medians of turns."""
    loop, batch = make(), (torch.randn(128, 1, 28, 28), torch.arange(128) % 10)
    turns = {reduced: lambda reduced=reduced: loop.step(*batch, reduced) for reduced in (False, True)}
    seconds = alternate(turns, steps)
    return statistics.median(seconds[True]) < statistics.median(seconds[False])


def rank(result: dict[str, Any]) -> tuple[float, float]:
    """Sooner is less; among runs that did not arrive, the more accurate."""
    return result["seconds"], -max(result["accuracies"], default=0.0)


def peer_rounds(
    name: str, make: Callable[[float], Loop], race: Callable[[], Race], rounds: int
) -> list[dict[str, Any]]:
    """The results of a peer, one per round: all of `RATES` in the first, the best of them from then on."""
    rates, results = RATES[name], []
    reduced = reduced_is_faster(lambda: make(rates[0]))
    for seed in range(rounds):
        tried = []
        for lr in rates:
            torch.manual_seed(seed)
            current = race()
            make(lr).run(current, reduced)
            tried.append({**current.result(), "lr": lr, "precision": "bf16" if reduced else "fp32"})
            print(name, tried[-1], flush=True)
        results.append(min(tried, key=rank) | {"rates": list(rates)})
        rates = (results[0]["lr"],)
    return results


def our_round(race: Race, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    ours(race, load(RECIPE, [f"--seed={seed}", "--data.val_fraction=0"]))
    print("ours", race.result(), flush=True)
    return race.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=92.0, help="percent of the test images")
    parser.add_argument("--caps", type=float, nargs=2, default=(6.0, 6.0), metavar=("TUTORIAL", "TIMM"),
                        help="a peer's run is over after so many times ours")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timm_epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    splits = build_data(load(RECIPE, ["--data.val_fraction=0"])).splits
    train, test = splits["train"], splits["test"]
    rounds = {"ours": [our_round(Race(test, args.target, HOUR), seed) for seed in range(args.rounds)]}
    slowest = max(result["seconds"] for result in rounds["ours"])
    peers = {"tutorial": partial(tutorial, train), "timm": lambda lr: timm(train, lr, args.timm_epochs)}
    for (name, make), cap in zip(peers.items(), args.caps, strict=True):
        race = partial(Race, test, args.target, cap * slowest)
        rounds[name] = peer_rounds(name, make, race, args.rounds)
    seconds = {name: statistics.median(result["seconds"] for result in results) for name, results in rounds.items()}
    ratios = {f"{name} / ours": round(seconds[name] / seconds["ours"], 2) for name in peers}
    report({"target": args.target, "caps": args.caps, "median seconds": seconds, **ratios, "rounds": rounds}, args.out)


if __name__ == "__main__":
    main()
