"""The noise processes."""

from genmods.diffusion.processes.learned import Learned
from genmods.diffusion.processes.rectified import Rectified
from genmods.diffusion.processes.variance_exploding import EDM, VarianceExploding
from genmods.diffusion.processes.variance_preserving import Cosine, Linear, Sigmoid, VariancePreserving

__all__ = ["EDM", "Cosine", "Learned", "Linear", "Rectified", "Sigmoid", "VarianceExploding", "VariancePreserving"]
