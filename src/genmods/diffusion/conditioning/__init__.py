"""Conditioning of generative networks: none, class labels, numbers, or a masked image."""

from genmods.diffusion.conditioning.base import Condition, Conditioning, Unconditional
from genmods.diffusion.conditioning.labels import ClassLabels
from genmods.diffusion.conditioning.mask import MaskedImage
from genmods.diffusion.conditioning.numbers import Numbers

__all__ = ["ClassLabels", "Condition", "Conditioning", "MaskedImage", "Numbers", "Unconditional"]
