"""Flow matching with noise coupled to the data by optimal transport within each batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genmods.core.batch import Batch
from genmods.diffusion.conditioning import Discrete
from genmods.diffusion.coupling import optimal_transport
from genmods.models.ot_flow import OTFlowModel
from genmods.tasks.diffusion import DiffusionTask


class OTFlowTask(DiffusionTask):
    """Trains a flow whose noise is assigned to the images of its class in the batch by optimal transport (Tong et al.
    2024), so that paths from noise to data are straighter and few sampling steps suffice.

    With any process and prediction; each rank and each batch of an accumulated step is coupled separately, so that a
    large batch is needed: of the samples of a class in a batch there must be several.

    Args:
        model: The model, conditioned on class labels or unconditional.
        settings: `density` and `weighting` of the task `diffusion`, and the plan.
    """

    model: OTFlowModel

    def __init__(self, model: OTFlowModel, **settings: Any) -> None:
        super().__init__(model, **settings)
        if not isinstance(model.conditioning, Discrete):
            raise ValueError(
                "ot_flow requires the conditioning class_labels or unconditional, within whose conditions noise is"
                f" coupled, got {type(model.conditioning).__name__}"
            )

    def noise(self, x0: Tensor, batch: Batch) -> Tensor:
        """Noise of the shape of `x0` [B, ...], coupled with it among samples with the same condition."""
        conditioning = self.model.conditioning
        assert isinstance(conditioning, Discrete)
        return optimal_transport(x0, torch.randn_like(x0), conditioning.groups(batch))
