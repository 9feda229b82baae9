"""Guidance: a denoiser composed of one or two denoisers; works with every sampler."""

from genmods.diffusion.guidance.classifier import ClassifierGuidance, CleanClassifier
from genmods.diffusion.guidance.extrapolation import Autoguidance, ClassifierFree, Extrapolation, Interval
from genmods.diffusion.guidance.threshold import Threshold

__all__ = [
    "Autoguidance", "ClassifierFree", "ClassifierGuidance", "CleanClassifier", "Extrapolation", "Interval", "Threshold"
]  # fmt: skip
