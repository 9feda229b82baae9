"""Consistency models: diffusion models whose x0 is the endpoint of the probability flow, a sample in one call."""

from __future__ import annotations

from typing import ClassVar

from genmods.diffusion.samplers.base import Sampler
from genmods.diffusion.samplers.consistency import ConsistencySampler
from genmods.models.diffusion import DiffusionModel
from genmods.models.likelihood import DiffusionLikelihood


class ConsistencyModel(DiffusionModel):
    """A consistency model of images or latents, which samples in one to four steps.

    The default sampler is `consistency` with 2 steps, also if the model is tuned from a run. Since its x0 is a sample
    instead of the posterior mean, it has no likelihood and cannot restore images.
    """

    not_taken: ClassVar[tuple[str, ...]] = ("sampler",)
    own_sampler: ClassVar[Sampler] = ConsistencySampler(steps=2)

    diffusion_model = None  # type: ignore[assignment]  # so that it is no `Denoises`

    def likelihood(self) -> DiffusionLikelihood | None:
        """None: a consistency model has no likelihood."""
        return None
