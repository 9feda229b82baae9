"""Models independent of training, and protocols of their abilities."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.models.abilities import (
        Calibrates as Calibrates,
        Classifies as Classifies,
        Conditional as Conditional,
        Denoises as Denoises,
        Generates as Generates,
        HasLikelihood as HasLikelihood,
        Inspectable as Inspectable,
        Predicts as Predicts,
        ReceivesResults as ReceivesResults,
        Restores as Restores,
        UsesSampler as UsesSampler,
    )
    from genmods.models.anomaly import NoiseErrors as NoiseErrors, anomaly_scores as anomaly_scores
    from genmods.models.base import (
        Inspection as Inspection,
        Model as Model,
        class_number as class_number,
        model_of as model_of,
    )
    from genmods.models.classifier import Classifier as Classifier, ClassPrediction as ClassPrediction
    from genmods.models.consistency import ConsistencyModel as ConsistencyModel
    from genmods.models.diffusion import (
        DiffusionModel as DiffusionModel,
        Guide as Guide,
        choose_sampler as choose_sampler,
    )
    from genmods.models.diffusion_classifier import DiffusionClassifier as DiffusionClassifier
    from genmods.models.editor import Editor as Editor, round_trip_error as round_trip_error, slerp as slerp
    from genmods.models.generative import GAN as GAN, VAE as VAE
    from genmods.models.guides import guide as guide
    from genmods.models.likelihood import DiffusionLikelihood as DiffusionLikelihood, Likelihood as Likelihood
    from genmods.models.mean_flow import MeanFlowModel as MeanFlowModel
    from genmods.models.ot_flow import OTFlowModel as OTFlowModel
    from genmods.models.regressor import MultilabelClassifier as MultilabelClassifier, Regressor as Regressor
    from genmods.models.temperature import fit_temperature as fit_temperature

__all__, __getattr__, __dir__ = lazy(__name__)
