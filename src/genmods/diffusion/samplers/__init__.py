"""Samplers, one per file, defined by a step between grid points."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.diffusion.samplers.base import Sampler as Sampler, SamplerState as SamplerState
    from genmods.diffusion.samplers.consistency import ConsistencySampler as ConsistencySampler
    from genmods.diffusion.samplers.ddim import DDIMSampler as DDIMSampler
    from genmods.diffusion.samplers.ddpm import DDPMSampler as DDPMSampler
    from genmods.diffusion.samplers.dpmpp import (
        DPMpp2MSampler as DPMpp2MSampler,
        DPMpp2MSDESampler as DPMpp2MSDESampler,
        DPMpp3MSampler as DPMpp3MSampler,
    )
    from genmods.diffusion.samplers.flow_ode import FlowODESampler as FlowODESampler
    from genmods.diffusion.samplers.heun import EulerSampler as EulerSampler, HeunSampler as HeunSampler
    from genmods.diffusion.samplers.mean_flow import MeanFlowSampler as MeanFlowSampler
    from genmods.diffusion.samplers.unipc import UniPCSampler as UniPCSampler

__all__, __getattr__, __dir__ = lazy(__name__)
