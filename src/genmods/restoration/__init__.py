"""Image restoration with diffusion models: operators, corruptions, methods, and the `Restorer` that applies them."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.restoration.corrupted import denoise_corruption as denoise_corruption
    from genmods.restoration.corruption import (
        Corruption as Corruption,
        GaussianNoise as GaussianNoise,
        Jpeg as Jpeg,
        PoissonNoise as PoissonNoise,
        SaltAndPepper as SaltAndPepper,
        SensorNoise as SensorNoise,
        SpeckleNoise as SpeckleNoise,
    )
    from genmods.restoration.degraded import Degraded as Degraded
    from genmods.restoration.denoising import (
        denoise as denoise,
        denoise_samples as denoise_samples,
        estimate_noise as estimate_noise,
        noise_level as noise_level,
        removable_noise as removable_noise,
    )
    from genmods.restoration.flips import Flipped as Flipped
    from genmods.restoration.gaussian import Gaussian as Gaussian
    from genmods.restoration.losses import (
        SURE as SURE,
        Noise2Noise as Noise2Noise,
        Noise2Void as Noise2Void,
        Recorrupted as Recorrupted,
        RestorationLoss as RestorationLoss,
        Supervised as Supervised,
    )
    from genmods.restoration.methods.base import Guidance as Guidance, Measurement as Measurement, Method as Method
    from genmods.restoration.methods.ddnm import DDNM as DDNM
    from genmods.restoration.methods.ddnm_plus import DDNMPlus as DDNMPlus
    from genmods.restoration.methods.diffpir import DiffPIR as DiffPIR
    from genmods.restoration.methods.dps import DPS as DPS
    from genmods.restoration.methods.mmps import MMPS as MMPS
    from genmods.restoration.methods.pigdm import PiGDM as PiGDM
    from genmods.restoration.methods.repaint import RePaint as RePaint
    from genmods.restoration.methods.replacement import Replacement as Replacement
    from genmods.restoration.mixtures import (
        Chain as Chain,
        RandomChoice as RandomChoice,
        UniformRange as UniformRange,
    )
    from genmods.restoration.noise import estimate_sigma as estimate_sigma
    from genmods.restoration.noise_curve import NoiseCurve as NoiseCurve, noise_curve as noise_curve
    from genmods.restoration.operators import (
        Average as Average,
        Bicubic as Bicubic,
        Blur as Blur,
        BoxMask as BoxMask,
        Compose as Compose,
        Diagonal as Diagonal,
        Downsample as Downsample,
        GaussianBlur as GaussianBlur,
        Grayscale as Grayscale,
        HalfMask as HalfMask,
        Identity as Identity,
        KernelBlur as KernelBlur,
        Mask as Mask,
        MotionBlur as MotionBlur,
        Operator as Operator,
        RandomMask as RandomMask,
        StripeMask as StripeMask,
    )
    from genmods.restoration.prior import Prior as Prior
    from genmods.restoration.restorer import Restorer as Restorer
    from genmods.restoration.tiles import Tiled as Tiled

__all__, __getattr__, __dir__ = lazy(__name__)
