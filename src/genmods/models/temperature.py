"""Temperature scaling: logits are divided by T > 0, which does not change the predicted classes; T minimises the
validation loss (Guo et al., 2017).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.errors import UserError


def fit_temperature(logits: Tensor, labels: Tensor, steps: int = 100) -> float:
    """The temperature T > 0 that minimises the cross-entropy of `logits / T` [N, K] for `labels` int64 [N].

    The loss is convex in 1 / T; it is minimised over ln T by L-BFGS in float64. T is limited to [0.05, 20], since the
    minimum does not exist if the logits separate all labels. Raises UserError if there are no logits or if some are not
    finite.
    """
    if len(logits) == 0 or not logits.isfinite().all():
        raise UserError("fitting a temperature requires the logits of at least one image, all finite")
    logits, labels = logits.detach().cpu().double(), labels.cpu()
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bound = math.log(20)
    optimizer = torch.optim.LBFGS([log_t], max_iter=steps, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits * (-log_t).exp(), labels)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return math.exp(min(bound, max(-bound, log_t.item())))
