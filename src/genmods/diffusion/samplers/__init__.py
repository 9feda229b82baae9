"""One short file a sampler: each is one step from a grid point to the next."""

from genmods.diffusion.samplers.base import Progress, Run, Sampler, part_of
from genmods.diffusion.samplers.ddim import DDIM
from genmods.diffusion.samplers.ddpm import DDPM
from genmods.diffusion.samplers.dpmpp import DPMpp2M, DPMpp2MSDE, DPMpp3M
from genmods.diffusion.samplers.flow import Flow
from genmods.diffusion.samplers.heun import Euler, Heun
from genmods.diffusion.samplers.unipc import UniPC

# fmt: off
__all__ = [
    "DDIM", "DDPM", "DPMpp2M", "DPMpp2MSDE", "DPMpp3M", "Euler", "Flow", "Heun", "Progress", "Run", "Sampler", "UniPC",
    "part_of",
]
