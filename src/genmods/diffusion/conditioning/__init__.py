"""Conditioning of generative networks: none, class labels, numbers, or a masked image."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.diffusion.conditioning.base import (
        Condition as Condition,
        Conditioning as Conditioning,
        Discrete as Discrete,
        Unconditional as Unconditional,
    )
    from genmods.diffusion.conditioning.labels import ClassLabels as ClassLabels
    from genmods.diffusion.conditioning.mask import MaskedImage as MaskedImage
    from genmods.diffusion.conditioning.numbers import Numbers as Numbers

__all__, __getattr__, __dir__ = lazy(__name__)
