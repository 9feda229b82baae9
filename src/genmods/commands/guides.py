"""How `generate` guides a diffusion model: by dropping the label, by a worse model, or by a classifier's run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from genmods.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.diffusion import Denoise
    from genmods.tasks.diffusion import DiffusionTask

SETTINGS = ("guidance", "classifier", "worse", "interval", "threshold")


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--guidance", type=float, metavar="W", help="weight of the guidance, classifier-free unless another is named")
    add("--classifier", metavar="C", help="a classifier's run that guides towards the label (W = 1: exact in theory)")
    add("--worse", metavar="C", help="autoguidance: a smaller or less trained run of the same data to move away from")
    add("--interval", type=float, nargs=2, metavar=("LO", "HI"), help="guide where LO < sigma/alpha <= HI alone")
    add("--threshold", type=float, metavar="Q", help="dynamic thresholding at this quantile of an estimate's pixels")


def guide(task: DiffusionTask, options: argparse.Namespace) -> Any:
    """(condition, labels) -> Denoise as the options ask for it. Raises UserError for settings that do not go together.

    Without --guidance the weight is 1, or 2 for autoguidance; classifier-free guidance of weight 1 is none.
    """
    import torch

    from genmods import runs
    from genmods.diffusion import Autoguidance, ClassifierGuidance, CleanClassifier, Interval, Threshold

    if options.classifier and options.worse:
        raise UserError("--classifier and --worse: only one of them can guide")
    if options.classifier and task.codec is not None:
        raise UserError("--classifier: it judges pixels, and this model diffuses latents")
    other: Any = runs.load(options.classifier or options.worse) if options.classifier or options.worse else None
    shape = ("image_shape", task.image_shape) if options.classifier else ("latent_shape", task.latent_shape)
    if other is not None and getattr(other, shape[0], None) != shape[1]:
        raise UserError(f"{options.classifier or options.worse}: a {type(other).__name__} that does not fit the model")
    other = other.to(task.device) if other is not None else None
    weight = options.guidance if options.guidance is not None else 2.0 if options.worse else 1.0

    def denoise(cond: dict[str, Tensor], labels: Tensor) -> Denoise:
        plain = task.denoise(cond)
        guided: Denoise = task.denoise(cond, weight)
        if options.classifier:
            guided = ClassifierGuidance(plain, task.process, CleanClassifier(plain, other, labels), weight)
        if options.worse:
            guided = Autoguidance(plain, other.denoise(cond), weight)
        if options.interval:
            guided = Interval(guided, plain, task.process, *options.interval)
        return Threshold(guided, task.process, options.threshold) if options.threshold else guided

    try:
        denoise({}, torch.empty(0))
    except ValueError as error:
        raise UserError(f"--interval, --threshold: {error}") from None
    return denoise
