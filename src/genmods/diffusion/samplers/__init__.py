"""Samplers, one per file, defined by a step between grid points."""

from genmods.diffusion.samplers.base import Sampler, SamplerState
from genmods.diffusion.samplers.consistency import ConsistencySampler
from genmods.diffusion.samplers.ddim import DDIMSampler
from genmods.diffusion.samplers.ddpm import DDPMSampler
from genmods.diffusion.samplers.dpmpp import DPMpp2MSampler, DPMpp2MSDESampler, DPMpp3MSampler
from genmods.diffusion.samplers.flow_ode import FlowODESampler
from genmods.diffusion.samplers.heun import EulerSampler, HeunSampler
from genmods.diffusion.samplers.unipc import UniPCSampler

__all__ = [
    "ConsistencySampler",
    "DDIMSampler",
    "DDPMSampler",
    "DPMpp2MSDESampler",
    "DPMpp2MSampler",
    "DPMpp3MSampler",
    "EulerSampler",
    "FlowODESampler",
    "HeunSampler",
    "Sampler",
    "SamplerState",
    "UniPCSampler",
]
