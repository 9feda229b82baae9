"""Methods: samplers of images from the posterior of a measurement."""

from genmods.restoration.methods.base import Ancestral, Guidance, Measurement, Method, Stepping

__all__ = ["Ancestral", "Guidance", "Measurement", "Method", "Stepping"]
