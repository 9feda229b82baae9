"""How `generate` guides a diffusion model: by dropping the label, by a worse model, or by a classifier's run."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import TYPE_CHECKING, Any

from genmods.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.diffusion import Denoise, NoiseProcess
    from genmods.networks.base import Condition
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
    _refuse(task, options)
    other = companion(task, options) if options.classifier or options.worse else None
    weight = options.guidance if options.guidance is not None else 2.0 if options.worse else 1.0
    return partial(_guided, task, options, other, weight)


def _refuse(task: DiffusionTask, options: argparse.Namespace) -> None:
    weight, quantile = options.guidance, options.threshold
    if weight is not None and not math.isfinite(weight):
        raise UserError(f"--guidance {weight}: a weight is a finite number")
    if options.classifier and options.worse:
        raise UserError("--classifier and --worse: only one of them can guide")
    for name in ("classifier", "threshold"):
        if getattr(options, name) is not None and task.codec is not None:
            raise UserError(f"--{name}: it takes pixels, and this model diffuses latents")
    if weight is not None and not (options.classifier or options.worse) and task.conditioning != "class":
        raise UserError("--guidance: the model knows no labels; name a --classifier or a --worse run that guides it")
    lo, hi = options.interval or (0.0, math.inf)
    if not 0 <= lo < hi:
        raise UserError(f"--interval {lo} {hi}: of sigma/alpha, 0 <= LO < HI")
    if quantile is not None and not 0 < quantile <= 1:
        raise UserError(f"--threshold {quantile}: a quantile lies in (0, 1]")


def _guided(
    task: DiffusionTask, options: argparse.Namespace, other: Any, weight: float, cond: Condition, labels: Tensor
) -> Denoise:
    from genmods.diffusion import Autoguidance, ClassifierGuidance, CleanClassifier, Interval, Threshold

    plain = task.denoise(cond)
    guided: Denoise
    if options.classifier:
        guided = ClassifierGuidance(plain, CleanClassifier(plain, other, labels), weight)
    elif options.worse:
        guided = Autoguidance(plain, other.denoise(cond), weight)
    else:
        guided = task.denoise(cond, weight)
    if options.interval:
        guided = Interval(guided, plain, *options.interval)
    return guided if options.threshold is None else Threshold(guided, options.threshold)


def companion(task: DiffusionTask, options: argparse.Namespace) -> Any:
    """The run of --classifier or --worse on the model's device; raises UserError where it does not fit the model."""
    from genmods.runs import folders
    from genmods.tasks.classification import ClassificationTask
    from genmods.tasks.diffusion import DiffusionTask

    run = options.classifier or options.worse
    other: Any = folders.load(run)
    if options.classifier:
        needs = "a classifier of the same images and classes"
        fits = isinstance(other, ClassificationTask) and other.image_shape == task.image_shape
        fits = fits and len(other.class_names) == task.num_classes
    else:
        needs = "a diffusion run of the same data, condition and process"
        fits = isinstance(other, DiffusionTask) and other.latent_shape == task.latent_shape
        fits = fits and (other.conditioning, other.num_classes) == (task.conditioning, task.num_classes)
        fits = fits and alike(task.process, other.process)
    if not fits:
        raise UserError(f"{run}: a {type(other).__name__} that does not fit the model; it takes {needs}")
    return other.to(task.device)


def alike(one: NoiseProcess, other: NoiseProcess) -> bool:
    """Whether x_t of one process is x_t of the other, at a few times."""
    import torch

    t = torch.linspace(one.t_min_trained, one.t_max, 9, dtype=torch.float64)
    return torch.allclose(one.alpha(t), other.alpha(t)) and torch.allclose(one.sigma(t), other.sigma(t))
