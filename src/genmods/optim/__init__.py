"""Optimizers, learning-rate schedules and parameter groups."""

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods.optim.groups import parameter_groups as parameter_groups
    from genmods.optim.muon import Muon as Muon
    from genmods.optim.plateau import ReduceOnPlateau as ReduceOnPlateau
    from genmods.optim.schedules import (
        ConstantSchedule as ConstantSchedule,
        CosineSchedule as CosineSchedule,
        LinearSchedule as LinearSchedule,
        Schedule as Schedule,
    )

__all__, __getattr__, __dir__ = lazy(__name__)
