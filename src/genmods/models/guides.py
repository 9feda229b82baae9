"""Guidance of a diffusion model, composed from trained models.

Classifier-free guidance (Ho and Salimans 2022), classifier guidance (Dhariwal and Nichol 2021) or autoguidance by a
worse model (Karras et al. 2024); within an interval of noise levels (Kynkäänniemi et al. 2024), with dynamic
thresholding (Saharia et al. 2022).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.diffusion.conditioning import Condition
from genmods.diffusion.conditioning.labels import class_order, reordered
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.guidance import Autoguidance, ClassifierGuidance, CleanClassifier, Interval, Threshold
from genmods.diffusion.process import NoiseProcess
from genmods.models.abilities import Classifies, Denoises
from genmods.models.base import Model, class_number
from genmods.models.diffusion import DiffusionModel, Guide


def guide(
    model: DiffusionModel,
    guidance: float | None = None,
    *,
    classifier: Any = None,
    worse: Any = None,
    label: int | str | None = None,
    interval: tuple[float, float] | None = None,
    threshold: float | None = None,
) -> Guide:
    """The guidance of `model` for `model.sample(n, guide=...)`.

    Args:
        model: The model that samples.
        guidance: The scale: 1 by default, or 2 for autoguidance. Classifier-free guidance is disabled by scale 1.
        classifier: A trained classifier of the same images and classes, whose order may differ, for classifier guidance
            towards the condition's label, `label`, or all classes in turn. Scale 1 is exact in theory.
        worse: A smaller or less trained diffusion model of the same data, condition and process, for autoguidance.
        label: The class, by number or name, for a classifier and an unconditional model.
        interval: (low, high): guide only for low < sigma/alpha <= high.
        threshold: Dynamic thresholding at this quantile in (0, 1] of an estimate's pixels.

    Returns:
        A function of a batch's condition and sample numbers, which returns the guided denoiser.

    Raises:
        UserError: If the settings or the models are incompatible.
    """
    _check(model, guidance, classifier, worse, interval, threshold)
    scale = guidance if guidance is not None else 2.0 if worse is not None else 1.0
    if classifier is not None:
        guided = _by_classifier(model, classifier, label, scale)
    elif worse is not None:
        guided = partial(_by_worse, model, _worse(model, worse), scale)
    else:
        guided = partial(_classifier_free, model, scale)
    return partial(_limited, model, guided, interval, threshold)


def _check(
    model: DiffusionModel,
    guidance: float | None,
    classifier: Any,
    worse: Any,
    interval: tuple[float, float] | None,
    threshold: float | None,
) -> None:
    if guidance is not None and not math.isfinite(guidance):
        raise UserError(f"guidance must be finite, got {guidance}")
    if classifier is not None and worse is not None:
        raise UserError("classifier and worse are mutually exclusive")
    for name, value in (("classifier", classifier), ("threshold", threshold)):
        if value is not None and not model.latents.is_pixels:
            raise UserError(f"{name} requires a diffusion model of pixels, got one of latents")
    if guidance is not None and classifier is None and worse is None and not model.conditioning.names:
        raise UserError("guidance: the model is unconditional; use a classifier or a worse model")
    low, high = interval or (0.0, math.inf)
    if not 0 <= low < high:
        raise UserError(f"interval must satisfy 0 <= LO < HI, got {low} {high}")
    if threshold is not None and not 0 < threshold <= 1:
        raise UserError(f"threshold must lie in (0, 1], got {threshold}")


def _limited(
    model: DiffusionModel,
    guided: Guide,
    interval: tuple[float, float] | None,
    threshold: float | None,
    cond: Condition,
    indices: Tensor,
) -> Denoise:
    """The guided denoiser, restricted to an interval of noise levels and with thresholding if requested."""
    result = guided(cond, indices)
    if interval:
        result = Interval(result, model.denoise(cond), *interval)
    return result if threshold is None else Threshold(result, threshold)


def _classifier_free(model: DiffusionModel, scale: float, cond: Condition, indices: Tensor) -> Denoise:
    return model.denoise(cond, scale)


def _by_worse(model: DiffusionModel, worse: DiffusionModel, scale: float, cond: Condition, indices: Tensor) -> Denoise:
    theirs = worse.conditioning.translate(cond, model.conditioning)
    return Autoguidance(model.denoise(cond), worse.denoise(theirs), scale)


def _worse(model: DiffusionModel, worse: Any) -> DiffusionModel:
    """The diffusion model of `worse`, on the device of `model`; raises UserError if it is incompatible."""
    other = worse.diffusion_model() if isinstance(worse, Denoises) else None
    if (
        other is None
        or other.latent_shape != model.latent_shape
        or not model.conditioning.same_as(other.conditioning)
        or not alike(model.process, other.process)
    ):
        raise _incompatible("worse", worse, "a diffusion model of the same data, condition and process")
    return other.to(model.device)


def _by_classifier(model: DiffusionModel, classifier: Model, label: int | str | None, scale: float) -> Guide:
    """Guidance by a classifier towards the condition's label, `label`, or all classes in turn."""
    names = model.class_names
    order = class_order(names, classifier.class_names) if isinstance(classifier, Classifies) else None
    if order is None or classifier.image_shape != model.image_shape:
        raise _incompatible("classifier", classifier, "a classifier of the same images and classes")
    number = None if label is None else class_number(names, label)
    placed: Any = classifier.to(model.device)
    to_classifier = partial(reordered, order=order)

    def guided(cond: Condition, indices: Tensor) -> Denoise:
        plain, labels = model.denoise(cond), indices % len(names)
        if "label" in cond:
            labels = cond["label"]
        elif number is not None:
            labels = labels.new_full(labels.shape, number)
        return ClassifierGuidance(plain, CleanClassifier(plain, placed, to_classifier(labels)), scale)

    return guided


def _incompatible(name: str, model: object, expected: str) -> UserError:
    return UserError(f"{name}: expected {expected}, got an incompatible {type(model).__name__}")


def alike(one: NoiseProcess, other: NoiseProcess) -> bool:
    """Whether two processes have the same alpha and sigma, checked at a few times."""
    t = torch.linspace(one.t_min_trained, one.t_max, 9, dtype=torch.float64)
    return torch.allclose(one.alpha(t), other.alpha(t)) and torch.allclose(one.sigma(t), other.sigma(t))
