"""Guidance: a denoiser composed of one or two denoisers; works with every sampler."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.diffusion.guidance.classifier import (
        ClassifierGuidance as ClassifierGuidance,
        CleanClassifier as CleanClassifier,
    )
    from genmods.diffusion.guidance.extrapolation import (
        Autoguidance as Autoguidance,
        ClassifierFree as ClassifierFree,
        Extrapolation as Extrapolation,
        Interval as Interval,
    )
    from genmods.diffusion.guidance.threshold import Threshold as Threshold

__all__, __getattr__, __dir__ = lazy(__name__)
