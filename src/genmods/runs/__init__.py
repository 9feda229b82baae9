"""Runs: folders, parts of earlier runs, fit, evaluation, calibration and export."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.runs.checkpoint import Checkpoint as Checkpoint
    from genmods.runs.folders import find_checkpoint as find_checkpoint, load as load
    from genmods.runs.run import Run as Run

__all__, __getattr__, __dir__ = lazy(__name__)
