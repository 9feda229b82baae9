"""One short file a sampler: each is one step from a grid point to the next."""

from genmods.diffusion.samplers.base import Progress, Run, Sampler
from genmods.diffusion.samplers.ddim import DDIM
from genmods.diffusion.samplers.ddpm import DDPM

__all__ = ["DDIM", "DDPM", "Progress", "Run", "Sampler"]
