"""Diffusion models: noise processes, predictions, samplers, guidance and likelihoods. Depends on torch only."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.diffusion.conditioning import *
    from genmods.diffusion.consistency import ConsistencyLoss as ConsistencyLoss
    from genmods.diffusion.coupling import optimal_transport as optimal_transport
    from genmods.diffusion.denoiser import (
        Condition as Condition,
        ConditionedDenoiser as ConditionedDenoiser,
        Denoise as Denoise,
        Denoiser as Denoiser,
        DenoiserWrapper as DenoiserWrapper,
    )
    from genmods.diffusion.densities import (
        LogNormalDensity as LogNormalDensity,
        LowDiscrepancyDensity as LowDiscrepancyDensity,
        TimeDensity as TimeDensity,
        UniformDensity as UniformDensity,
    )
    from genmods.diffusion.flow import flow_decode as flow_decode, flow_invert as flow_invert
    from genmods.diffusion.grids import (
        AngleGrid as AngleGrid,
        Grid as Grid,
        KarrasGrid as KarrasGrid,
        LambdaGrid as LambdaGrid,
        QuadraticGrid as QuadraticGrid,
        UniformGrid as UniformGrid,
        time_grid as time_grid,
    )
    from genmods.diffusion.guidance import *
    from genmods.diffusion.inversion import ddim_decode as ddim_decode, ddim_invert as ddim_invert
    from genmods.diffusion.latents import LatentSpace as LatentSpace
    from genmods.diffusion.likelihood import (
        BoundTerms as BoundTerms,
        bound_bits_per_dim as bound_bits_per_dim,
        bound_map as bound_map,
        diffusion_nats as diffusion_nats,
        flow_bits_per_dim as flow_bits_per_dim,
    )
    from genmods.diffusion.loss import DiffusionLoss as DiffusionLoss, Loss as Loss
    from genmods.diffusion.mean_flow import MeanFlowLoss as MeanFlowLoss
    from genmods.diffusion.noise import Noise as Noise, NoiseStream as NoiseStream, noise_stream as noise_stream
    from genmods.diffusion.noise_errors import errors_by_level as errors_by_level
    from genmods.diffusion.prediction import (
        EpsPrediction as EpsPrediction,
        Estimate as Estimate,
        FlowPrediction as FlowPrediction,
        KarrasPrediction as KarrasPrediction,
        Prediction as Prediction,
        VPrediction as VPrediction,
        X0Prediction as X0Prediction,
    )
    from genmods.diffusion.process import NoiseProcess as NoiseProcess
    from genmods.diffusion.processes import *
    from genmods.diffusion.samplers import *
    from genmods.diffusion.weightings import (
        EDM2Weighting as EDM2Weighting,
        EDMWeighting as EDMWeighting,
        ElboWeighting as ElboWeighting,
        MinSNRWeighting as MinSNRWeighting,
        NoiseLevel as NoiseLevel,
        SigmoidWeighting as SigmoidWeighting,
        SimpleWeighting as SimpleWeighting,
        Weighting as Weighting,
    )

__all__, __getattr__, __dir__ = lazy(__name__)
