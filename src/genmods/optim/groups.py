"""Parameter groups: decay pulls filters and matrices to zero, and leaves norms, biases and embeddings alone.

Decay is right for a weight that multiplies activations and has a scale of its own to lose: the weight of a
convolution, a linear layer or attention. A norm's gain, a bias, an embedding or a learned token is no such weight.
"""

from __future__ import annotations

from typing import Any

from torch import nn

_MULTIPLIES = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.RNNBase)


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Split the trainable parameters of `module` into groups for an optimizer.

    Filters and matrices keep the optimizer's `weight_decay`, all else gets 0. The key `matrix` is True for the hidden
    filters and matrices, which Muon orthogonalises, and False for the output layer (the last one registered) and for
    all else; other optimizers ignore it. A shared parameter is listed once, frozen ones are left out, and so are
    empty groups.
    """
    kinds: dict[nn.Parameter, bool] = {}
    for part in module.modules():
        for parameter in part.parameters(recurse=False):
            multiplies = isinstance(part, _MULTIPLIES) and parameter.ndim >= 2
            kinds[parameter] = kinds.get(parameter, True) and multiplies  # tied to an embedding: no decay
    weights = [parameter for parameter, multiplies in kinds.items() if multiplies]
    others = [parameter for parameter, multiplies in kinds.items() if not multiplies]
    groups: list[dict[str, Any]] = [
        {"params": weights[:-1], "matrix": True},
        {"params": weights[-1:], "matrix": False},
        {"params": others, "weight_decay": 0.0, "matrix": False},
    ]
    for group in groups:
        group["params"] = [parameter for parameter in group["params"] if parameter.requires_grad]
    return [group for group in groups if group["params"]]
