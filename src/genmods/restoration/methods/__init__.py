"""Methods: samplers of images given a measurement."""

from genmods.restoration.methods.base import Guidance, Measurement, Method, Stepping

__all__ = ["Guidance", "Measurement", "Method", "Stepping"]
