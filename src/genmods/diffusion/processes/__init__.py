"""Noise processes."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.diffusion.processes.learned import LearnedProcess as LearnedProcess
    from genmods.diffusion.processes.rectified import RectifiedProcess as RectifiedProcess
    from genmods.diffusion.processes.variance_exploding import (
        EDMProcess as EDMProcess,
        VarianceExplodingProcess as VarianceExplodingProcess,
    )
    from genmods.diffusion.processes.variance_preserving import (
        CosineProcess as CosineProcess,
        LinearProcess as LinearProcess,
        Rate as Rate,
        RateProcess as RateProcess,
        SigmoidProcess as SigmoidProcess,
        VariancePreservingProcess as VariancePreservingProcess,
    )

__all__, __getattr__, __dir__ = lazy(__name__)
