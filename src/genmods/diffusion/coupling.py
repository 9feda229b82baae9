"""Coupling of noise and data by optimal transport within a batch: straighter probability flows.

Each x0 of a batch is paired with one of the noise samples of the batch so that the sum of |x0 - ε|² is the least
(Pooladian et al. 2023, "Multisample flow matching"; Tong et al. 2024, "Improving and generalizing flow-based generative
models with minibatch optimal transport"). The noise is permuted, so that its distribution is still normal, but it is no
longer independent of the data: a model trained on such pairs has the velocity of a probability flow from noise to data,
which is not that of the score.

Noise that is permuted across conditions is not normal given the condition, and samples with a condition, which start
from normal noise, would be biased. It is therefore permuted among samples with equal conditions only.
"""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def optimal_transport(x0: Tensor, eps: Tensor, groups: Tensor) -> Tensor:
    """The noise of a batch in the order that is closest to the data.

    The assignment is solved exactly, on the CPU in O(n³) per group of n samples; on a GPU, each call waits for it.

    Args:
        x0: Data [B, ...].
        eps: Noise [B, ...].
        groups: int64 [B]; noise is permuted among samples of the same group.

    Returns:
        A permutation of `eps` along the batch [B, ...] with the least Σ |x0_i - ε_i|².
    """
    from scipy.optimize import linear_sum_assignment

    data, noise = (x.flatten(1).to("cpu", torch.float64) for x in (x0, eps))
    order, groups = torch.arange(len(x0)), groups.cpu()
    for group in groups.unique():
        rows = (groups == group).nonzero()[:, 0]
        products = (data[rows] @ noise[rows].T).nan_to_num()  # |x0|² and |ε|² are the same in every order
        order[rows] = rows[linear_sum_assignment(products.numpy(), maximize=True)[1]]
    return eps[order.to(eps.device)]
