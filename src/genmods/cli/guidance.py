"""Options of `generate` for guidance: classifier-free guidance, autoguidance, classifier guidance."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import TYPE_CHECKING, Any

from genmods.cli import model_options
from genmods.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.diffusion import Denoise, NoiseProcess
    from genmods.diffusion.conditioning import Condition
    from genmods.models import DiffusionModel, Guide

SETTINGS = ("guidance", "classifier", "worse", "interval", "threshold")


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--guidance",
        type=float,
        metavar="W",
        help="guidance scale (classifier-free guidance unless another kind is given)",
    )
    add("--classifier", metavar="C", help="classifier guidance by this run of a classifier (W = 1: exact in theory)")
    add("--worse", metavar="C", help="autoguidance by this run of a smaller or less trained model of the same data")
    add("--interval", type=float, nargs=2, metavar=("LO", "HI"), help="apply guidance only for LO < sigma/alpha <= HI")
    add("--threshold", type=float, metavar="Q", help="dynamic thresholding at this quantile of the estimate's pixels")


def guide(source: Any, options: argparse.Namespace) -> Guide:
    """The guidance given by the options; raises UserError for incompatible options.

    The default scale is 1, or 2 for autoguidance; classifier-free guidance with scale 1 means no guidance.
    """
    model = source.diffusion_model()
    _refuse(model, options)
    weight = options.guidance if options.guidance is not None else 2.0 if options.worse else 1.0
    if options.classifier:
        guided = _by_classifier(model, source.class_names, options, weight)
    elif options.worse:
        worse = _worse_model(model, options.worse)
        guided = partial(_by_worse, model, worse, weight)
    else:
        guided = partial(_classifier_free, model, weight)
    return partial(_limited, model, options, guided)


def _refuse(model: DiffusionModel, options: argparse.Namespace) -> None:
    weight, quantile = options.guidance, options.threshold
    if weight is not None and not math.isfinite(weight):
        raise UserError(f"--guidance must be finite, got {weight}")
    if options.classifier and options.worse:
        raise UserError("--classifier and --worse are mutually exclusive")
    for name in ("classifier", "threshold"):
        if getattr(options, name) is not None and not model.latents.is_pixels:
            raise UserError(f"--{name} requires a diffusion model of pixels, got one of latents")
    if weight is not None and not (options.classifier or options.worse) and not model.conditioning.names:
        raise UserError("--guidance: the model is unconditional; use --classifier or --worse")
    lo, hi = options.interval or (0.0, math.inf)
    if not 0 <= lo < hi:
        raise UserError(f"--interval must satisfy 0 <= LO < HI, got {lo} {hi}")
    if quantile is not None and not 0 < quantile <= 1:
        raise UserError(f"--threshold must lie in (0, 1], got {quantile}")


def _limited(
    model: DiffusionModel, options: argparse.Namespace, guided: Guide, cond: Condition, indices: Tensor
) -> Denoise:
    """The guided denoiser, restricted to an interval of noise levels and with thresholding if requested."""
    from genmods.diffusion import Interval, Threshold

    result = guided(cond, indices)
    if options.interval:
        result = Interval(result, model.denoise(cond), *options.interval)
    return result if options.threshold is None else Threshold(result, options.threshold)


def _classifier_free(model: DiffusionModel, weight: float, cond: Condition, indices: Tensor) -> Denoise:
    return model.denoise(cond, weight)


def _by_worse(model: DiffusionModel, worse: DiffusionModel, weight: float, cond: Condition, indices: Tensor) -> Denoise:
    from genmods.diffusion import Autoguidance

    return Autoguidance(model.denoise(cond), worse.denoise(cond), weight)


def _worse_model(model: DiffusionModel, run: str) -> DiffusionModel:
    """The diffusion model of a run, on the device of `model`; raises UserError if it is incompatible."""
    from genmods.models import Denoises
    from genmods.runs import folders

    task = folders.load(run)
    other = task.diffusion_model() if isinstance(task, Denoises) else None
    if (
        other is None
        or other.latent_shape != model.latent_shape
        or not model.conditioning.same_as(other.conditioning)
        or not alike(model.process, other.process)
    ):
        raise _unfit(run, task, "a diffusion run of the same data, condition and process")
    return other.to(model.device)


def _by_classifier(model: DiffusionModel, class_names: list[str], options: argparse.Namespace, weight: float) -> Guide:
    """Guidance by the classifier of a run towards the condition's label, that of --label, or all classes in turn."""
    from genmods.diffusion import ClassifierGuidance, CleanClassifier
    from genmods.models import Classifies, Model
    from genmods.runs import folders

    task: Model = folders.load(options.classifier)
    if (
        not isinstance(task, Classifies)
        or task.image_shape != model.image_shape
        or len(task.class_names) != len(class_names)
    ):
        raise _unfit(options.classifier, task, "a classifier of the same images and classes")
    number = None if options.label is None else model_options.class_number(class_names, options.label)
    classifier: Any = task.to(model.device)

    def guided(cond: Condition, indices: Tensor) -> Denoise:
        plain, labels = model.denoise(cond), indices % len(task.class_names)
        if "label" in cond:
            labels = cond["label"]
        elif number is not None:
            labels = labels.new_full(labels.shape, number)
        return ClassifierGuidance(plain, CleanClassifier(plain, classifier, labels), weight)

    return guided


def _unfit(run: str, task: object, needs: str) -> UserError:
    return UserError(f"{run}: expected {needs}, got an incompatible {type(task).__name__}")


def alike(one: NoiseProcess, other: NoiseProcess) -> bool:
    """Whether two processes have the same alpha and sigma, checked at a few times."""
    import torch

    t = torch.linspace(one.t_min_trained, one.t_max, 9, dtype=torch.float64)
    return torch.allclose(one.alpha(t), other.alpha(t)) and torch.allclose(one.sigma(t), other.sigma(t))
