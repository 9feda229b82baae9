"""What a generative network is conditioned on: nothing, a class, numbers, or an image under a mask."""

from genmods.diffusion.conditioning.base import Condition, Conditioning, Unconditional
from genmods.diffusion.conditioning.labels import ClassLabels
from genmods.diffusion.conditioning.mask import MaskedImage
from genmods.diffusion.conditioning.numbers import Numbers

__all__ = ["ClassLabels", "Condition", "Conditioning", "MaskedImage", "Numbers", "Unconditional"]
