"""Models independent of training, and protocols of their abilities."""

from genmods.models.abilities import (
    Calibrates,
    Classifies,
    Conditional,
    Denoises,
    Generates,
    HasLikelihood,
    Inspectable,
    Predicts,
    ReceivesResults,
    Restores,
    UsesSampler,
)
from genmods.models.base import Inspection, Model, class_number, model_of
from genmods.models.classifier import Classifier, Prediction
from genmods.models.consistency import ConsistencyModel
from genmods.models.diffusion import DiffusionModel, Guide, choose_sampler
from genmods.models.generative import GAN, VAE
from genmods.models.guides import guide
from genmods.models.likelihood import DiffusionLikelihood, Likelihood
from genmods.models.regressor import MultilabelClassifier, Regressor
from genmods.models.temperature import fit_temperature

__all__ = [
    "GAN",
    "VAE",
    "Calibrates",
    "Classifier",
    "Classifies",
    "Conditional",
    "ConsistencyModel",
    "Denoises",
    "DiffusionLikelihood",
    "DiffusionModel",
    "Generates",
    "Guide",
    "HasLikelihood",
    "Inspectable",
    "Inspection",
    "Likelihood",
    "Model",
    "MultilabelClassifier",
    "Prediction",
    "Predicts",
    "ReceivesResults",
    "Regressor",
    "Restores",
    "UsesSampler",
    "choose_sampler",
    "class_number",
    "fit_temperature",
    "guide",
    "model_of",
]
