"""Diffusion models: processes, predictions, samplers, guidance and likelihood. Needs torch alone.

Where a name serves two kinds (`Flow`, `EDM`, `Sigmoid`), the other one is in its own module: `weightings.EDM`.
"""

from genmods.diffusion.denoiser import Denoise, Denoiser, Given
from genmods.diffusion.densities import LogNormal, LowDiscrepancy, TimeDensity
from genmods.diffusion.grids import Grid
from genmods.diffusion.guidance import (
    Autoguidance,
    ClassifierFree,
    ClassifierGuidance,
    CleanClassifier,
    Extrapolation,
    Interval,
    Threshold,
)
from genmods.diffusion.likelihood import Bits, ode, vlb
from genmods.diffusion.loss import DiffusionLoss, Loss
from genmods.diffusion.noise import Noise, NoiseStream, noise_stream
from genmods.diffusion.prediction import X0, Eps, Estimate, Karras, Prediction, V, consistent
from genmods.diffusion.prediction import Flow as FlowPrediction
from genmods.diffusion.process import LOG_SNR_LIMIT, NoiseProcess, per_sample
from genmods.diffusion.processes import (
    EDM,
    Cosine,
    Learned,
    Linear,
    Rectified,
    Sigmoid,
    VarianceExploding,
    VariancePreserving,
)
from genmods.diffusion.samplers import (
    DDIM,
    DDPM,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp3M,
    Euler,
    Flow,
    Heun,
    Progress,
    Run,
    Sampler,
    UniPC,
    part_of,
)
from genmods.diffusion.weightings import Level, Weighting

__all__ = [
    "DDIM",
    "DDPM",
    "EDM",
    "LOG_SNR_LIMIT",
    "X0",
    "Autoguidance",
    "Bits",
    "ClassifierFree",
    "ClassifierGuidance",
    "CleanClassifier",
    "Cosine",
    "DPMpp2M",
    "DPMpp2MSDE",
    "DPMpp3M",
    "Denoise",
    "Denoiser",
    "DiffusionLoss",
    "Eps",
    "Estimate",
    "Euler",
    "Extrapolation",
    "Flow",
    "FlowPrediction",
    "Given",
    "Grid",
    "Heun",
    "Interval",
    "Karras",
    "Learned",
    "Level",
    "Linear",
    "LogNormal",
    "Loss",
    "LowDiscrepancy",
    "Noise",
    "NoiseProcess",
    "NoiseStream",
    "Prediction",
    "Progress",
    "Rectified",
    "Run",
    "Sampler",
    "Sigmoid",
    "Threshold",
    "TimeDensity",
    "UniPC",
    "V",
    "VarianceExploding",
    "VariancePreserving",
    "Weighting",
    "consistent",
    "noise_stream",
    "ode",
    "part_of",
    "per_sample",
    "vlb",
]
