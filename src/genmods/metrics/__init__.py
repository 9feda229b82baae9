"""Metrics of images, samples and classifiers."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.metrics.accuracy import Accuracy as Accuracy
    from genmods.metrics.anomaly import Anomaly as Anomaly, auroc as auroc
    from genmods.metrics.base import (
        EvaluationData as EvaluationData,
        Metric as Metric,
        MetricResult as MetricResult,
        MetricValue as MetricValue,
    )
    from genmods.metrics.calibration import (
        Reliability as Reliability,
        expected_calibration_error as expected_calibration_error,
        reliability as reliability,
    )
    from genmods.metrics.classification import Classification as Classification
    from genmods.metrics.extractors import (
        DINOv2Features as DINOv2Features,
        EfficientNetLite0Features as EfficientNetLite0Features,
        FeatureExtractor as FeatureExtractor,
        InceptionFeatures as InceptionFeatures,
        PixelFeatures as PixelFeatures,
    )
    from genmods.metrics.features import (
        Features as Features,
        classifier_features as classifier_features,
        inception_features as inception_features,
        pixel_features as pixel_features,
    )
    from genmods.metrics.fidelity import psnr as psnr, ssim as ssim
    from genmods.metrics.frechet import (
        FrechetDistance as FrechetDistance,
        FrechetLimit as FrechetLimit,
        KernelDistance as KernelDistance,
        frechet_distance as frechet_distance,
        frechet_limit as frechet_limit,
        kernel_distance as kernel_distance,
    )
    from genmods.metrics.neighbors import (
        Clustering as Clustering,
        NearestImages as NearestImages,
        NearestNeighbors as NearestNeighbors,
        nearest as nearest,
    )
    from genmods.metrics.scores import (
        BitsPerDimension as BitsPerDimension,
        Coverage as Coverage,
        Density as Density,
        FlowBitsPerDimension as FlowBitsPerDimension,
        InceptionScore as InceptionScore,
        Precision as Precision,
        Recall as Recall,
        density_and_coverage as density_and_coverage,
        inception_score as inception_score,
    )
    from genmods.metrics.sliced import MongeDistance as MongeDistance, sliced_distance as sliced_distance
    from genmods.metrics.statistics import (
        GaussianStatistics as GaussianStatistics,
        gaussian_statistics as gaussian_statistics,
    )

__all__, __getattr__, __dir__ = lazy(__name__)
