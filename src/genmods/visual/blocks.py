"""The blocks of an architecture diagram: modules of a network, expanded from the outside, and what connects them.

Containers (`Sequential`, `ModuleList`), the levels of a U-Net, and modules of convolutions and attention are expanded
while there are not too many blocks; other modules are one block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from genmods.visual.trace import Step, sources, trace

_QUIET = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)


@dataclass
class Block:
    """A block of the diagram: its name, its kind, its output shape without the batch, its parameter count, and the
    numbers of the earlier blocks whose outputs reach it by a skip connection."""

    name: str
    kind: str
    label: str
    shape: tuple[int, ...]
    parameters: int
    skips: list[int] = field(default_factory=list)


def blocks(network: nn.Module, *inputs: Any, most: int = 33) -> list[Block]:
    """The blocks of `network` in order of computation for example `inputs`, about `most` at most.

    A block includes its submodules and the norm, activation and dropout layers that follow it, with their parameters.
    """
    with torch.no_grad():
        steps = {step.name: step for step in trace(network, *inputs)}
    chosen = _open(network, steps, most)
    found: list[Block] = []
    numbers: dict[str, int] = {}
    for step in chosen:
        count = sum(p.numel() for p in step.module.parameters())
        count += sum(b.numel() for b in step.module.buffers(recurse=False) if b.ndim == 4)
        shape = tuple(step.output.shape[1:])
        if found and _is_quiet(step.module):
            found[-1].parameters += count
        else:
            found.append(Block(step.name, kind_of(step.module), _label(step.module), shape, count))
        numbers[step.name] = len(found) - 1
    _connect(found, numbers, sources(network, *inputs, layers=list(numbers)))
    return found


def _connect(found: list[Block], numbers: dict[str, int], used: dict[str, set[str]]) -> None:
    """Note the skip connections: maps that a block uses besides that of the block before it."""
    maps = [number for number, block in enumerate(found) if len(block.shape) == 3]
    for name, number in numbers.items():
        before = [k for k in maps if k < number]
        earlier = {numbers[other] for other in used[name]} & set(before[:-1])
        if number in maps:
            found[number].skips = sorted(earlier | set(found[number].skips))


def _open(network: nn.Module, steps: dict[str, Step], most: int) -> list[Step]:
    """Called modules that cover the network; containers are expanded while there are at most `most` modules."""
    order = {name: i for i, name in enumerate(steps)}
    names = _called(network, "", steps)
    while True:
        for name in names:
            module = steps[name].module
            opens = isinstance(module, nn.Sequential) or _dips(name, steps) or _mixes(module)
            inner = _called(module, f"{name}.", steps) if opens else []
            loud = [child for child in inner if not _is_quiet(steps[child].module)]
            if len(loud) > 1 and len(names) + len(inner) - 1 <= most:
                names = [other for other in names if other != name] + inner
                break
        else:
            return [steps[name] for name in sorted(names, key=order.__getitem__)]


def _dips(name: str, steps: dict[str, Step]) -> bool:
    """Whether the layer `name` computes at a lower resolution than that of its output, like a level of a U-Net."""
    own = steps[name].output.shape
    inner = (step.output.shape for key, step in steps.items() if key.startswith(f"{name}."))
    return len(own) == 4 and any(len(shape) == 4 and 1 < shape[-2] < own[-2] for shape in inner)


def _mixes(module: nn.Module) -> bool:
    """Whether a module consists of attention and of convolutions of more than one pixel."""
    parts = list(module.modules())[1:]
    wide = any(isinstance(part, nn.Conv2d) and max(part.kernel_size) > 1 for part in parts)
    return wide and any(_attends(part) for part in parts)


def _attends(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "attention" in name or "transformer" in name


def _called(module: nn.Module, prefix: str, steps: dict[str, Step]) -> list[str]:
    """The submodules of `module` that are called, looking into containers that are not called themselves."""
    names = []
    for child, part in module.named_children():
        name = prefix + child
        names += [name] if name in steps else _called(part, f"{name}.", steps)
    if len(names) == 1 and not prefix:  # a task around one network
        inner = _called(steps[names[0]].module, f"{names[0]}.", steps)
        return inner or names
    return names


def _is_quiet(module: nn.Module) -> bool:
    """Whether a module is an activation, norm or dropout layer, which is not drawn."""
    leaf = not list(module.children())
    return isinstance(module, _QUIET) or (
        leaf and not any(p.ndim > 1 for p in module.state_dict().values()) and not _pools(module)
    )


def _pools(module: nn.Module) -> bool:
    return "pool" in type(module).__name__.lower() or isinstance(module, nn.Upsample)


def kind_of(module: nn.Module) -> str:
    """The kind of a module, which determines its colour."""
    parts = list(module.modules())
    if _attends(module):
        return "attention"
    if any(isinstance(part, nn.modules.conv._ConvNd) or _has_filters(part) for part in parts):
        return "convolution"
    if any(isinstance(part, nn.Linear) for part in parts):
        return "fully connected"
    return "pooling" if any(_pools(part) for part in parts) else "other"


def _has_filters(module: nn.Module) -> bool:
    return any(b.ndim == 4 and b.shape[-1] > 1 for b in module.buffers(recurse=False))


def _label(module: nn.Module) -> str:
    """A short label of a block: the size of its first convolution, or its class."""
    if isinstance(module, nn.Sequential) or not list(module.children()):
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                return f"conv {part.kernel_size[0]}×{part.kernel_size[1]}" + (
                    f" /{part.stride[0]}" if part.stride[0] > 1 else ""
                )
            if isinstance(part, nn.Linear):
                return "linear"
            if _pools(part):
                return "max pool" if "max" in type(part).__name__.lower() else "mean pool"
    return type(module).__name__
