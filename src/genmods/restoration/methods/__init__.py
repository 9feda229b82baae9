"""Methods: samplers of images given a measurement."""

from genmods.restoration.methods.base import Measurement, Method

__all__ = ["Measurement", "Method"]
