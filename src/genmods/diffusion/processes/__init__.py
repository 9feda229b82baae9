"""The noise processes."""

from genmods.diffusion.processes.exploding import EDM, VarianceExploding
from genmods.diffusion.processes.learned import Learned
from genmods.diffusion.processes.preserving import Cosine, Linear, Sigmoid, VariancePreserving
from genmods.diffusion.processes.rectified import Rectified

__all__ = ["EDM", "Cosine", "Learned", "Linear", "Rectified", "Sigmoid", "VarianceExploding", "VariancePreserving"]
