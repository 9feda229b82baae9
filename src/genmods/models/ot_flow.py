"""Flow models of noise coupled with data: samples by the probability flow ODE, from straighter paths."""

from __future__ import annotations

from genmods.core.errors import UserError
from genmods.diffusion.samplers.base import Sampler
from genmods.models.diffusion import DiffusionModel
from genmods.models.likelihood import DiffusionLikelihood


class OTFlowModel(DiffusionModel):
    """A model of images or latents whose velocity transports noise to data, trained by the task `ot_flow`.

    Its x0 and ε are means over coupled pairs, so that ε differs from the score: only samplers of the probability flow
    ODE are valid, it has no variational bound and cannot restore images.
    """

    diffusion_model = None  # type: ignore[assignment]  # so that it is no `Denoises`

    def check_sampler(self, sampler: Sampler) -> None:
        """Raises UserError for a stochastic sampler, and ValueError if it does not support the process."""
        super().check_sampler(sampler)
        if sampler.stochastic:
            raise UserError(
                "sampler: a model trained by ot_flow requires one that adds no noise, such as unipc, heun or ddim,"
                f" got {type(sampler).__name__}"
            )

    def likelihood(self) -> DiffusionLikelihood | None:
        """None: the variational bound holds for independent noise."""
        return None
