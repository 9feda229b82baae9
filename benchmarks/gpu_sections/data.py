"""The shipped recipes of Fashion-MNIST on the images at hand: these, or drawn shapes where they are absent."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from genmods.config.recipe import Recipe, load
from genmods.core.errors import UserError
from genmods.data.sources.mnist import FashionMNIST
from gpu_sections.job import Job

RECIPES = Path(__file__).parents[2] / "recipes" / "fashion_mnist"
SHAPES = ("--data.name=synthetic", "--data.classes=10", "--data.noise=0.4")


@cache
def has_fashion_mnist() -> bool:
    """Whether it is in `GENMODS_DATA` or a well-known folder."""
    try:
        FashionMNIST().read()
    except UserError:
        return False
    return True


def name(job: Job) -> str:
    """What the images are, for a row."""
    if job.toy:
        return "synthetic shapes, 16x16"
    return "Fashion-MNIST" if has_fashion_mnist() else "synthetic shapes, 32x32 in colour"


def overrides(job: Job) -> list[str]:
    """The overrides of a recipe for the images and the device."""
    precision = f"--trainer.precision={'bf16-mixed' if job.device == 'cuda' else '32-true'}"
    if job.toy:
        small = ("--data.side=16", "--data.train_images=96", "--data.test_images=20", "--data.batch_size=16")
        return [*SHAPES, *small, precision]
    if has_fashion_mnist():
        return [precision]
    return [*SHAPES, "--data.side=32", "--data.train_images=10000", "--data.test_images=2000", precision]


def recipe(job: Job, name: str, *more: str) -> Recipe:
    """The recipe `recipes/fashion_mnist/NAME.yaml` with the `overrides` and `more`."""
    return load(RECIPES / f"{name}.yaml", [*overrides(job), *more])
