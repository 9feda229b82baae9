"""Plots of networks and of their activations: matplotlib figures without global state, and SVG."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.visual.classes import confusion_matrix as confusion_matrix, reliability_diagram as reliability_diagram
    from genmods.visual.gradcam import grad_cam as grad_cam
    from genmods.visual.layers import (
        feature_maps as feature_maps,
        feature_overview as feature_overview,
        filters as filters,
    )
    from genmods.visual.picture import to_picture as to_picture

__all__, __getattr__, __dir__ = lazy(__name__)
