"""Images per CPU-second through crop + flip + erasing, each image with its own randomness: whole batches against a
per-sample torchvision pipeline in a DataLoader, and against kornia's augmentation of whole batches, if it is installed.
One thread, one process, in turns within one run. And what all that a Trainer does between two training steps of a
recipe, the input path with it, takes of a step.

    python benchmarks/input_path.py --out input_path.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from common import alternate, bare_trainer, ratio, report
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from genmods.config.recipe import load
from genmods.core.batch import INPUT
from genmods.data.augmentation.boxes import RandomErasing
from genmods.data.augmentation.flips import Flip
from genmods.data.augmentation.geometry import Translate
from genmods.data.augmentation.sequence import augmented
from genmods.data.images import Images, Source
from genmods.data.module import ImageData
from genmods.runs.fit import build_data, build_task

SHAPES = {"28x28 grey": (1, 28, 28), "32x32 colour": (3, 32, 32)}


class Noise(Source):
    """Random images: what the input path costs does not depend on what they show."""

    def __init__(self, shape: tuple[int, int, int], n: int):
        self.images = Images(torch.randint(0, 256, (n, *shape), dtype=torch.uint8), torch.arange(n) % 10)

    def read(self) -> dict[str, Images]:
        return {"train": self.images}

    @property
    def class_names(self) -> list[str]:
        return [str(k) for k in range(10)]


class PerSample(Dataset):
    """A data set as tutorials write it: one image a call, through torchvision transforms."""

    def __init__(self, images: Images):
        side = images.pixels.shape[-1]
        self.images = images
        self.transform = transforms.Compose([
            transforms.ToPILImage(),
            transforms.RandomCrop(side, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(0.5, 0.5),
            transforms.RandomErasing(value=-1),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images.pixels[index]), int(self.images.labels[index])


def ours(images: Images, source: Source, batch_size: int) -> Callable[[], None]:
    data = ImageData(source, batch_size, [Translate(4), Flip(), RandomErasing()], val_fraction=0, test_fraction=0)
    loader = data.train_dataloader()

    def epoch() -> None:
        for batch in loader:
            augmented(batch, data.augment, 10)

    return epoch


def torchvision(images: Images, source: Source, batch_size: int) -> Callable[[], None]:
    loader = DataLoader(PerSample(images), batch_size, shuffle=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def kornia(images: Images, source: Source, batch_size: int) -> Callable[[], None]:
    from kornia.augmentation import Normalize, RandomCrop, RandomErasing, RandomHorizontalFlip

    side = images.pixels.shape[-1]
    augment = torch.nn.Sequential(  # black is 0 before normalisation
        RandomCrop((side, side), padding=4), RandomHorizontalFlip(), RandomErasing(value=0.0), Normalize(0.5, 0.5)
    )

    def epoch() -> None:
        for index in torch.randperm(len(images)).split(batch_size):
            batch = images.batch(index)
            augment(batch[INPUT].float() / 255)

    return epoch


PIPELINES = {"genmods": ours, "torchvision": torchvision} | ({"kornia": kornia} if find_spec("kornia") else {})


def measure(shape: tuple[int, int, int], batch_size: int, n: int, rounds: int) -> dict[str, float]:
    """Images per CPU-second of each pipeline, medians over the rounds, and the median ratio of ours to each peer."""
    source = Noise(shape, n)
    epochs = {name: make(source.images, source, batch_size) for name, make in PIPELINES.items()}
    seconds = alternate(epochs, rounds, warm_up=1)
    rates = {f"{name}, images per CPU-second": round(n / statistics.median(s)) for name, s in seconds.items()}
    own = seconds.pop("genmods")
    return {**rates, **{f"times {name}": round(ratio(peer, own), 1) for name, peer in seconds.items()}}


class Gaps(Callback):
    """Processor seconds of each training step, and of the input path before it."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.gaps: list[float] = []
        self.last = 0.0

    def on_train_batch_start(self, *args: object) -> None:
        self.gaps.append(time.process_time() - self.last)
        self.last = time.process_time()

    def on_train_batch_end(self, *args: object) -> None:
        self.steps.append(time.process_time() - self.last)
        self.last = time.process_time()


def share_of_a_step(name: str, steps: int) -> dict[str, float]:
    """Milliseconds before and within a training step of a shipped recipe, medians, and their ratio in percent."""
    recipe = load(name)
    data, gaps = build_data(recipe), Gaps()
    task = build_task(recipe, data.info)
    bare_trainer(task, {**recipe.trainer.given, "max_epochs": None, "max_steps": steps}, gaps).fit(task, data)
    before, step = (1e3 * statistics.median(seconds[2:]) for seconds in (gaps.gaps, gaps.steps))
    return {
        "before_ms": round(before, 2),
        "step_ms": round(step, 1),
        "percent": round(100 * before / step, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_size", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--steps", type=int, default=40, help="training steps of each recipe")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        f"{name}, batch {size}": measure(shape, size, args.images, args.rounds)
        for name, shape in SHAPES.items()
        for size in args.batch_size
    }
    shares = {name: share_of_a_step(name, args.steps) for name in ("fashion_mnist/cnn", "fashion_mnist/ddpm")}
    report({**result, "share of a training step": shares}, args.out)


if __name__ == "__main__":
    main()
