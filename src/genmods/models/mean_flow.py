"""Mean-flow models: diffusion models with the average velocity of a step, for samples in one to four steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from genmods.core.errors import UserError
from genmods.diffusion.conditioning import Condition
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.mean_flow import Scale
from genmods.diffusion.samplers.base import Sampler
from genmods.diffusion.samplers.mean_flow import MeanFlowSampler
from genmods.models.diffusion import DiffusionModel
from genmods.networks.base import Network


class MeanFlowModel(DiffusionModel):
    """A mean-flow model of images or latents, which samples in one to four steps.

    The default sampler is `mean_flow` with 2 steps, also if the model is tuned from a run. With the other samplers and
    in restoration it is an ordinary diffusion model.

    Args:
        network: A network with `two_times`, and with `guided` for guidance; recipes need not set them.
        max_guidance: The largest scale of classifier-free guidance, as a condition of the network: guided samples take
            one call per step. With 1 the network has no such condition.
        settings: The settings of `DiffusionModel`.

    Raises:
        ValueError: If the network has no second log-SNR, or no guidance scale.
    """

    not_taken: ClassVar[tuple[str, ...]] = ("sampler",)
    own_sampler: ClassVar[Sampler] = MeanFlowSampler(steps=2)

    def __init__(self, network: Network, max_guidance: Scale = 1.0, **settings: Any) -> None:
        self.max_guidance = max_guidance
        super().__init__(network=network, **settings)

    @classmethod
    def facts_of_parts(cls, facts: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """As for `DiffusionModel`; the network receives a second log-SNR and, with guidance, its scale."""
        extra = {"two_times": True, "guided": given.get("max_guidance", 1.0) > 1}
        return super().facts_of_parts(facts, given) | extra

    def _check(self) -> None:
        network, guided = self.denoiser.network, self.max_guidance > 1
        for setting, needed in (("two_times", True), ("guided", guided)):
            if needed and not getattr(network, setting, False):
                name = type(network).__name__
                raise ValueError(f"mean_flow requires a network with {setting}, such as unet or dit, got {name}")
        if guided and not (self.conditioning.names and self.conditioning.learns_null):
            raise ValueError("max_guidance must be 1 unless a condition is dropped in training, as by class_labels")
        super()._check()

    def denoise(self, cond: Condition, guidance: float = 1.0) -> Denoise:
        """The denoiser for a condition; guidance is a condition of the network if it was trained for it.

        Raises UserError if the model was not trained for such a condition or for so large a scale.
        """
        if guidance == 1.0 or self.max_guidance == 1:
            return super().denoise(cond, guidance)
        if not 1 <= guidance <= self.max_guidance:
            raise UserError(f"guidance must lie in [1, {self.max_guidance:g}], as in training, got {guidance:g}")
        self.conditioning.require_trained(cond)
        count = len(next(iter(cond.values())))
        return self.denoiser.conditioned(cond | {"guidance": torch.full((count,), guidance, device=self.device)})
