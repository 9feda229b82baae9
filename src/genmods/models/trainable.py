"""Whether diffusion models can be trained as a task is set, for the task and for `check`, which does not import it."""

from __future__ import annotations

from genmods.diffusion import DiffusionLoss, TimeDensity, Weighting
from genmods.diffusion.conditioning import Discrete
from genmods.models.diffusion import DiffusionModel
from genmods.models.ot_flow import OTFlowModel


def bounds_likelihood(model: DiffusionModel, weighting: Weighting | None) -> bool:
    """Whether the loss with this weighting is a bound on the likelihood of the model."""
    return DiffusionLoss(weighting=weighting).weighting.bounds_likelihood and model.likelihood() is not None


def check_diffusion(
    model: DiffusionModel, density: TimeDensity | None = None, weighting: Weighting | None = None
) -> None:
    """Raises ValueError if a model cannot be trained with this density of times and weighting."""
    DiffusionLoss(density, weighting).check(model.process)
    if bounds_likelihood(model, weighting) and not model.conditioning.learns_null:
        raise ValueError(
            "conditioning.drop must be above 0 with the weighting `elbo`, which bounds the unconditional likelihood"
        )


def check_ot_flow(model: OTFlowModel, density: TimeDensity | None = None, weighting: Weighting | None = None) -> None:
    """Raises ValueError if a model cannot be trained with noise coupled to the images of its conditions."""
    if not isinstance(model.conditioning, Discrete):
        raise ValueError(
            "ot_flow requires the conditioning class_labels or unconditional, within whose conditions noise is"
            f" coupled, got {type(model.conditioning).__name__}"
        )
    check_diffusion(model, density, weighting)
