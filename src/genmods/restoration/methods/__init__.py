"""Methods: samplers of images from the posterior of a measurement."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.restoration.methods.base import (
        Ancestral as Ancestral,
        Guidance as Guidance,
        Measurement as Measurement,
        Method as Method,
        Stepping as Stepping,
    )

__all__, __getattr__, __dir__ = lazy(__name__)
