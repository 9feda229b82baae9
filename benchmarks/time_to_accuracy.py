"""Seconds of training to 92 % of the 10,000 test images of Fashion-MNIST, in turns within one run:

  ours      recipes/fashion_mnist/fast.yaml, trained by Lightning's Trainer
  tutorial  a plain loop as tutorials have it: torchvision's resnet18 with one input channel, torchvision transforms on
            each image, a DataLoader with 2 workers, Adam, fp32
  timm      timm's resnet18 with the defaults of its training script (SGD, warm-up and cosine, label smoothing, random
            resized crops, flips, 2 workers), shrunk to the data: 28 pixels, one channel, crops of at least half of the
            image, `--timm_epochs` epochs

The clock counts training and loading, not the reading of the files, nor the tests after each epoch, for all alike. A
run that does not arrive within `--cap` seconds counts as that long.

    python benchmarks/time_to_accuracy.py --out time_to_accuracy.json
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import report
from race import Race, ours
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from genmods.config.recipe import load
from genmods.data.images import Images
from genmods.runs.fit import build_data

MEAN, STD = 0.286, 0.353  # of Fashion-MNIST on [0, 1], as tutorials quote them
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


def loop(
    race: Race,
    network: nn.Module,
    batches: Iterable,
    optimizer: torch.optim.Optimizer,
    smoothing: float = 0.0,
    each_epoch: Callable[[int], object] = lambda epoch: None,
    epochs: int | None = None,
) -> None:
    """The training loop of tutorials, to the end of the race or for so many epochs."""
    race.start()
    epoch = 0
    while epochs is None or epoch < epochs:
        each_epoch(epoch)
        for images, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels, label_smoothing=smoothing).backward()
            optimizer.step()
            if race.late():
                return race.pause()
        epoch += 1
        network.eval()
        if race.judge(lambda images: network(((images + 1) / 2 - MEAN) / STD)):
            return None
        network.train()


def tutorial(race: Race, train: Images) -> None:
    network = models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    transform = transforms.Compose([
        transforms.RandomCrop(28, padding=2),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    batches = DataLoader(PerSample(train, transform), 128, shuffle=True, num_workers=2)
    loop(race, network, batches, torch.optim.Adam(network.parameters(), 1e-3))


def timm(race: Race, train: Images, epochs: int) -> None:
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
    optimizer = create_optimizer_v2(network, "sgd", lr=0.05, weight_decay=2e-5, momentum=0.9)
    schedule, _ = create_scheduler_v2(optimizer, "cosine", epochs, warmup_epochs=max(1, epochs // 60), warmup_lr=1e-5)
    loop(race, network, batches, optimizer, smoothing=0.1, each_epoch=schedule.step, epochs=epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=92.0, help="percent of the test images")
    parser.add_argument("--cap", type=float, default=900, help="seconds after which a run is over")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timm_epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", default=["ours", "tutorial", "timm"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    splits = build_data(load(RECIPE, ["--data.val_fraction=0"])).splits
    runs: dict[str, Callable[[Race, int], None]] = {
        "ours": lambda race, seed: ours(race, load(RECIPE, [f"--seed={seed}", "--data.val_fraction=0"])),
        "tutorial": lambda race, seed: tutorial(race, splits["train"]),
        "timm": lambda race, seed: timm(race, splits["train"], args.timm_epochs),
    }
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in runs if name in args.only}
    for seed in range(args.rounds):
        for name, results in rounds.items():
            torch.manual_seed(seed)
            race = Race(splits["test"], args.target, args.cap)
            runs[name](race, seed)
            results.append(race.result())
            print(name, results[-1], flush=True)
    seconds = {name: statistics.median(result["seconds"] for result in results) for name, results in rounds.items()}
    ratios = {
        f"{name} / ours": round(s / seconds["ours"], 2)
        for name, s in seconds.items()
        if "ours" in seconds and name != "ours"
    }
    report({"target": args.target, "cap": args.cap, "median seconds": seconds, **ratios, "rounds": rounds}, args.out)


if __name__ == "__main__":
    main()
