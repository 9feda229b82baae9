"""Models apart from their training: what a model can do, and a diffusion model with its condition and latents."""

from genmods.models.abilities import (
    Calibrates,
    Classifies,
    Conditional,
    Denoises,
    Generates,
    HasLikelihood,
    Inspectable,
    Inspection,
    ReceivesResults,
    UsesSampler,
)
from genmods.models.diffusion import DiffusionModel, Guide
from genmods.models.likelihood import DiffusionLikelihood, Likelihood

__all__ = [
    "Calibrates",
    "Classifies",
    "Conditional",
    "Denoises",
    "DiffusionLikelihood",
    "DiffusionModel",
    "Generates",
    "Guide",
    "HasLikelihood",
    "Inspectable",
    "Inspection",
    "Likelihood",
    "ReceivesResults",
    "UsesSampler",
]
