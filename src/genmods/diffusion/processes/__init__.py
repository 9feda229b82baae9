"""Noise processes."""

from genmods.diffusion.processes.learned import LearnedProcess
from genmods.diffusion.processes.rectified import RectifiedProcess
from genmods.diffusion.processes.variance_exploding import EDMProcess, VarianceExplodingProcess
from genmods.diffusion.processes.variance_preserving import (
    CosineProcess,
    LinearProcess,
    Rate,
    RateProcess,
    SigmoidProcess,
    VariancePreservingProcess,
)

__all__ = [
    "CosineProcess",
    "EDMProcess",
    "LearnedProcess",
    "LinearProcess",
    "Rate",
    "RateProcess",
    "RectifiedProcess",
    "SigmoidProcess",
    "VarianceExplodingProcess",
    "VariancePreservingProcess",
]
