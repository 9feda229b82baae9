"""Lightning callbacks: EMA, pictures, reports."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.callbacks.checkpoint import RunCheckpoint as RunCheckpoint
    from genmods.callbacks.class_report import ClassReport as ClassReport
    from genmods.callbacks.compile import Compile as Compile
    from genmods.callbacks.early_stopping import EarlyStopping as EarlyStopping
    from genmods.callbacks.ema import EMA as EMA
    from genmods.callbacks.evaluation import Evaluation as Evaluation
    from genmods.callbacks.feature_maps import FeatureMaps as FeatureMaps
    from genmods.callbacks.finite import Finite as Finite
    from genmods.callbacks.loss_by_noise import LossByNoise as LossByNoise
    from genmods.callbacks.mistakes import Mistakes as Mistakes
    from genmods.callbacks.norms import Norms as Norms
    from genmods.callbacks.power_ema import PowerEMA as PowerEMA
    from genmods.callbacks.report import Report as Report
    from genmods.callbacks.restoration_report import RestorationReport as RestorationReport
    from genmods.callbacks.sample_grid import SampleGrid as SampleGrid
    from genmods.callbacks.strips import (
        DenoiseStrip as DenoiseStrip,
        DiffusionStrip as DiffusionStrip,
        InpaintStrip as InpaintStrip,
    )
    from genmods.callbacks.throughput import Throughput as Throughput

__all__, __getattr__, __dir__ = lazy(__name__)
