"""Parameter groups: weight decay for filters and matrices, none for norms, biases, embeddings and learned tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer

_MULTIPLIES = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.RNNBase)


def parameter_groups(*modules: nn.Module) -> list[dict[str, Any]]:
    """Split the trainable parameters of `modules` into groups for an optimizer.

    Filters and matrices keep the optimizer's `weight_decay`; all other parameters have weight decay 0. The key `matrix`
    is True for hidden filters and matrices, which Muon orthogonalises, and False for the output layer of each module
    (its last registered trainable layer) and everything else; other optimizers ignore it. The key `parts` of these
    groups lists, per parameter, how many layers are fused in its rows (`genmods.networks.blocks.FusedLinear`). Shared
    parameters are listed once; frozen parameters and empty groups are omitted. Groups with a factor of the learning
    rate other than 1 have the key `lr_scale`, which `made` applies.
    """
    kinds: dict[nn.Parameter, bool] = {}
    parts: dict[nn.Parameter, int] = {}
    for part in (part for module in modules for part in module.modules()):
        for parameter in part.parameters(recurse=False):
            if parameter.requires_grad:
                multiplies = isinstance(part, _MULTIPLIES) and parameter.ndim >= 2
                kinds[parameter] = kinds.get(parameter, True) and multiplies  # tied to an embedding: no decay
                parts[parameter] = getattr(part, "parts", 1)
    weights = [[parameter for parameter in module.parameters() if kinds.get(parameter)] for module in modules]
    outputs = {members[-1] for members in weights if members}
    scales = _scales(modules)
    groups: list[dict[str, Any]] = []
    for scale in sorted({scales.get(parameter, 1.0) for parameter in kinds}, reverse=True):
        here = {p: multiplies for p, multiplies in kinds.items() if scales.get(p, 1.0) == scale}
        hidden = [p for p, multiplies in here.items() if multiplies and p not in outputs]
        several: list[dict[str, Any]] = [
            {"params": hidden, "parts": [parts[p] for p in hidden], "matrix": True},
            {"params": [p for p in here if p in outputs], "matrix": False},
            {"params": [p for p, multiplies in here.items() if not multiplies], "weight_decay": 0.0, "matrix": False},
        ]
        groups += [group | ({"lr_scale": scale} if scale != 1 else {}) for group in several if group["params"]]
    return groups


def _scales(modules: tuple[nn.Module, ...]) -> dict[nn.Parameter, float]:
    """The factors of learning rates that modules give by the names of their parameters in `lr_scales`."""
    owners = {part for module in modules for part in module.modules() if getattr(part, "lr_scales", None)}
    return {part.get_parameter(name): scale for part in owners for name, scale in part.lr_scales.items()}  # type: ignore[union-attr,operator]


def made(optimizer: Callable[..., Optimizer], groups: list[dict[str, Any]]) -> Optimizer:
    """The optimizer of `groups`, with the learning rate of each multiplied by its `lr_scale`."""
    result = optimizer(groups)
    for group in result.param_groups:
        group["lr"] *= group.get("lr_scale", 1.0)
    return result
