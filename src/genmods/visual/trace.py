"""The outputs of all layers of a network for an input, by dotted name, in order of computation, and who uses them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from genmods.networks.base import evaluating

_SILENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Flatten, nn.ModuleList)


@dataclass
class Step:
    """A call of the layer `name`: its `module`, the shape of its first tensor input, and its `output`."""

    name: str
    module: nn.Module
    in_shape: tuple[int, ...]
    output: Tensor


def trace(network: nn.Module, *inputs: Any) -> list[Step]:
    """All calls of submodules of `network` that return a tensor, inner ones first, in eval mode.

    Gradients are not disabled. A layer that is called twice is listed twice.
    """
    steps: list[Step] = []

    def listen(name: str):
        def hook(module: nn.Module, args: tuple, output: object) -> None:
            shapes = [tuple(arg.shape) for arg in args if isinstance(arg, Tensor)]
            if isinstance(output, Tensor):
                steps.append(Step(name, module, shapes[0] if shapes else (), output))

        return hook

    handles = [part.register_forward_hook(listen(name)) for name, part in network.named_modules() if name]
    try:
        with evaluating(network):
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return steps


class _Origins(TorchFunctionMode):
    """Records for each tensor the layers whose outputs it was computed from, without other layers in between."""

    def __init__(self) -> None:
        super().__init__()
        self._of = WeakTensorKeyDictionary()

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.set(result, self.of((args, kwargs)))
        return result

    def of(self, values: object) -> set[str]:
        """The layers of all tensors in `values`."""
        found = (self._of.get(leaf, ()) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
        return {name for names in found for name in names}

    def set(self, values: object, names: set[str]) -> None:
        """Replace the layers of all tensors in `values`."""
        for leaf in tree_leaves(values):
            if isinstance(leaf, Tensor):
                self._of[leaf] = names


def sources(network: nn.Module, *inputs: Any, layers: Collection[str]) -> dict[str, set[str]]:
    """The `layers` whose outputs each of the `layers` uses, directly or through functions, by dotted name."""
    used: dict[str, set[str]] = {name: set() for name in layers}
    origins, handles = _Origins(), []

    def listen(name: str, layer: nn.Module) -> None:
        def before(module: nn.Module, args: tuple, kwargs: dict) -> None:
            used[name] |= origins.of((args, kwargs))

        def after(module: nn.Module, args: tuple, output: object) -> None:
            origins.set(output, {name})

        handles.append(layer.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(layer.register_forward_hook(after))

    for name in layers:
        listen(name, network.get_submodule(name))
    try:
        with evaluating(network), torch.no_grad(), origins:
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return used


def find_layer(network: nn.Module, layer: str) -> str:
    """The dotted name of a layer, given by that name or by a unique ending of it, such as `conv2`.

    Raises ValueError, with the existing names, if there is no or more than one such layer.
    """
    names = [name for name, _ in network.named_modules() if name]
    ends = [name for name in names if name == layer] or [name for name in names if name.endswith(f".{layer}")]
    if len(ends) != 1:
        found = f"more than one layer is called {layer!r}: {', '.join(ends)}"
        layers = ", ".join(name for name in names if name.count(".") < 2)
        raise ValueError(found if ends else f"no layer is called {layer!r}; choose from {layers}")
    return ends[0]


def stages(steps: list[Step]) -> list[Step]:
    """The last feature map [B, C, H, W] of each resolution, largest first.

    Outer layers take precedence over their submodules. Containers that span several resolutions and the output image of
    a denoiser are excluded.
    """
    maps = [step for step in steps if step.output.ndim == 4 and not isinstance(step.module, _SILENT)]
    if maps and maps[-1] is steps[-1] and maps[-1].output.shape[2:] in [step.output.shape[2:] for step in maps[:-1]]:
        maps.pop()
    sizes = {step.name: step.output.shape[2:] for step in maps}
    found: dict[torch.Size, Step] = {}
    for step in maps:
        size = step.output.shape[2:]
        children = [sizes.get(f"{step.name}.{child}", size) for child, _ in step.module.named_children()]
        spans = isinstance(step.module, nn.Sequential) and any(child != size for child in children)
        if not spans and (size not in found or step.name.count(".") <= found[size].name.count(".")):
            found[size] = step
    return sorted(found.values(), key=lambda step: -step.output.shape[2])
