"""Diffusion models: processes, predictions, samplers, guidance and likelihood. Needs torch alone."""

from genmods.diffusion.denoiser import Denoise, Denoiser, Given
from genmods.diffusion.densities import LogNormal, LowDiscrepancy, TimeDensity
from genmods.diffusion.grids import Grid
from genmods.diffusion.loss import DiffusionLoss, Loss
from genmods.diffusion.noise import Noise, NoiseStream, noise_stream
from genmods.diffusion.prediction import X0, Eps, Estimate, Flow, Karras, Prediction, V
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
from genmods.diffusion.samplers import DDIM, DDPM, Progress, Run, Sampler
from genmods.diffusion.weightings import Level, Weighting

__all__ = [
    "DDIM",
    "DDPM",
    "EDM",
    "LOG_SNR_LIMIT",
    "X0",
    "Cosine",
    "Denoise",
    "Denoiser",
    "DiffusionLoss",
    "Eps",
    "Estimate",
    "Flow",
    "Given",
    "Grid",
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
    "TimeDensity",
    "V",
    "VarianceExploding",
    "VariancePreserving",
    "Weighting",
    "noise_stream",
    "per_sample",
]
