"""Parameter groups: weight decay for filters and matrices, none for norms, biases, embeddings and learned tokens."""

from __future__ import annotations

from typing import Any

from torch import nn

_MULTIPLIES = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.RNNBase)


def parameter_groups(*modules: nn.Module) -> list[dict[str, Any]]:
    """Split the trainable parameters of `modules` into groups for an optimizer.

    Filters and matrices keep the optimizer's `weight_decay`; all other parameters have weight decay 0. The key `matrix`
    is True for hidden filters and matrices, which Muon orthogonalises, and False for the output layer of each module
    (its last registered trainable layer) and everything else; other optimizers ignore it. Shared parameters are listed
    once; frozen parameters and empty groups are omitted.
    """
    kinds: dict[nn.Parameter, bool] = {}
    for part in (part for module in modules for part in module.modules()):
        for parameter in part.parameters(recurse=False):
            if parameter.requires_grad:
                multiplies = isinstance(part, _MULTIPLIES) and parameter.ndim >= 2
                kinds[parameter] = kinds.get(parameter, True) and multiplies  # tied to an embedding: no decay
    weights = [[parameter for parameter in module.parameters() if kinds.get(parameter)] for module in modules]
    outputs = {members[-1] for members in weights if members}
    groups: list[dict[str, Any]] = [
        {"params": [p for p, multiplies in kinds.items() if multiplies and p not in outputs], "matrix": True},
        {"params": [p for p in kinds if p in outputs], "matrix": False},
        {"params": [p for p, multiplies in kinds.items() if not multiplies], "weight_decay": 0.0, "matrix": False},
    ]
    return [group for group in groups if group["params"]]
