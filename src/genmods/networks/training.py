"""How a network is trained, whatever its class: initial weights of a file, frozen layers, learning rates by part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from torch import nn

from genmods.core.errors import nearest
from genmods.core.initial_weights import loads_weights
from genmods.core.settings import NonNegative, Validated
from genmods.networks.base import Network, keep_statistics
from genmods.networks.weights import load_weights


class NetworkTraining(Validated):
    """Settings of every network in a recipe.

    Layers are chosen by their dotted names (`layer1` includes all below it), by patterns (`*.bn?`), or as `head`, the
    output layer, and `backbone`, everything else.

    Args:
        weights: A file of initial weights, safetensors or of `torch.save`; an appended `#sha256=HEX` checks its hash.
            Tensors that do not fit, such as those of a head for other classes, are newly initialised.
        freeze: Layers that are not trained; their batch statistics and dropout stay those of evaluation.
        lr_scale: Factor of the learning rate by layer, such as `{backbone: 0.1}`; of several, the last applies.
    """

    def __init__(
        self,
        weights: str | None = None,
        freeze: tuple[str, ...] = (),
        lr_scale: dict[str, NonNegative] | None = None,
    ) -> None:
        self.weights, self.freeze, self.lr_scale = weights, freeze, lr_scale or {}

    def apply(self, network: Network) -> None:
        """Load, freeze and scale; raises UserError for weights that do not fit and ValueError for unknown layers."""
        if self.weights and loads_weights():
            network.loaded = load_weights(network.inner, self.weights)
            keep_statistics(network, network.loaded.new)
        freeze(network, self.freeze)
        scale_rates(network, self.lr_scale)


def freeze(network: Network, layers: Iterable[str]) -> None:
    """Exclude layers from training: no gradients, and permanently in evaluation mode.

    Args:
        network: The network.
        layers: Names or patterns, `head` or `backbone`.

    Raises:
        ValueError: If there is no such layer.
    """
    modules = dict(network.inner.named_modules())
    parameters = dict(network.inner.named_parameters())
    for layer in layers:
        found = _chosen(network.inner, layer, "freeze")
        for name in found & parameters.keys():
            parameters[name].requires_grad_(False)
        network.frozen += tuple(modules[name] for name in found & modules.keys())
    network.train(network.training)


def scale_rates(network: Network, factors: Mapping[str, float]) -> None:
    """Multiply the learning rate of layers, as in `lr_scale`; raises ValueError if there is no such layer."""
    parameters = dict(network.inner.named_parameters())
    names = {parameter: name for name, parameter in network.named_parameters()}
    for layer, factor in factors.items():
        chosen = _chosen(network.inner, layer, "lr_scale") & parameters.keys()
        network.lr_scales = {**network.lr_scales, **{names[parameters[name]]: factor for name in chosen}}


def output_layer(model: nn.Module) -> nn.Module:
    """The last registered linear or convolutional layer of `model`."""
    return [part for part in model.modules() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)][-1]


def _chosen(model: nn.Module, layer: str, setting: str) -> set[str]:
    """The names of the modules and parameters that `layer` chooses."""
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    names |= {name for name, _ in model.named_parameters(remove_duplicate=False)}
    head = next(name for name, part in model.named_modules() if part is output_layer(model))
    of_head = {name for name in names if f"{name}.".startswith(f"{head}.")}
    if layer == "backbone":
        return names - of_head
    if layer == "head" and not hasattr(model, "head"):
        return of_head
    found = {name for name in names if name and _matches(name, layer)}
    if not found:
        children = [name for name, _ in model.named_children()]
        raise ValueError(f"{setting}: no layer is called {layer!r}{nearest(layer, {'backbone', 'head', *children})}")
    return found


def _matches(name: str, layer: str) -> bool:
    """Whether a name, or that of a module that contains it, is `layer` or matches its pattern."""
    words = name.split(".")
    return any(fnmatchcase(".".join(words[:n]), layer) for n in range(1, len(words) + 1))
