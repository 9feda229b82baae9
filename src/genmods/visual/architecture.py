"""Architecture diagrams as SVG: a row of blocks whose height is the resolution and whose width is the channels.

The blocks are the network's modules, expanded from the outside until there are about `most` of them. Containers
(`Sequential`, `ModuleList`) and the levels of a U-Net are expanded; other modules are drawn as one block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import nn

from genmods.core.printable import printable
from genmods.visual.style import shape_text
from genmods.visual.trace import Step, trace

_KINDS = {
    "convolution": "#4c86c6",
    "pooling": "#e07a2f",
    "fully connected": "#4ba47c",
    "attention": "#8c6bb8",
    "other": "#8a97a6",
}
_QUIET = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten)
_ROW, _TALLEST, _PITCH, _MARGIN = 13, 150, 118, 40


@dataclass
class Block:
    """A block of the diagram: its name, its kind, its output shape without the batch, and its parameter count."""

    name: str
    kind: str
    label: str
    shape: tuple[int, ...]
    parameters: int


def blocks(network: nn.Module, *inputs: Any, most: int = 33) -> list[Block]:
    """The blocks of `network` in order of computation for example `inputs`, about `most` at most.

    A block includes its submodules and the norm, activation and dropout layers that follow it, with their parameters.
    """
    with torch.no_grad():
        steps = {step.name: step for step in trace(network, *inputs)}
    chosen = _open(network, steps, most)
    found: list[Block] = []
    for step in chosen:
        count = sum(p.numel() for p in step.module.parameters())
        count += sum(b.numel() for b in step.module.buffers(recurse=False) if b.ndim == 4)
        shape = tuple(step.output.shape[1:])
        if found and _is_quiet(step.module):
            found[-1].parameters += count
        else:
            found.append(Block(step.name, kind_of(step.module), _label(step.module), shape, count))
    return found


def _open(network: nn.Module, steps: dict[str, Step], most: int) -> list[Step]:
    """Called modules that cover the network; containers are expanded while there are at most `most` modules."""
    order = {name: i for i, name in enumerate(steps)}
    names = _called(network, "", steps)
    while True:
        for name in names:
            module = steps[name].module
            opens = isinstance(module, nn.Sequential) or _dips(name, steps)
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
    name = type(module).__name__.lower()
    if "attention" in name or "transformer" in name or isinstance(module, nn.MultiheadAttention):
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


def count_text(n: int) -> str:
    """A parameter count in a few characters: 0 -> "", 940 -> "940", 36928 -> "36.9 k"."""
    if n >= 1e6:
        return f"{n / 1e6:.3g} M"
    return f"{n / 1e3:.3g} k" if n >= 1000 else str(n or "")


def short_name(name: str, most: int = 15) -> str:
    """A dotted name shortened at the front to `most` characters: levels.inner.down.0 -> …inner.down.0."""
    parts = name.split(".")
    while len(parts) > 1 and len(".".join(parts)) > most:
        parts.pop(0)
    short = ".".join(parts)
    return short[:most] if short == name else f"…{short[:most]}"


def architecture(network: nn.Module, *inputs: Any, name: str = "", most: int = 33) -> str:
    """Draw a network as SVG.

    Args:
        network: The network, which may be on the meta device.
        inputs: Example inputs: images [B, C, H, W], for a denoiser also the log-SNR [B], and any further arguments.
        name: Name in the title.
        most: Approximate maximum number of blocks.

    Returns:
        The SVG document.
    """
    found = blocks(network, *inputs, most=most)
    total = sum(p.numel() for p in network.parameters())
    shape = tuple(inputs[0].shape[1:])
    drawn = [Block("input", "input", "image" if len(shape) == 3 else "vector", shape, 0), *found]
    rows = math.ceil(len(drawn) / _ROW)
    per_row = math.ceil(len(drawn) / rows)
    width = 2 * _MARGIN + per_row * _PITCH
    body, height = [], 64
    largest = max([block.shape[-1] for block in drawn if len(block.shape) == 3], default=1)
    for start in range(0, len(drawn), per_row):
        row = drawn[start : start + per_row]
        body += _row(row, height, largest, last=start + per_row >= len(drawn))
        height += _TALLEST + 120
    body += _legend([block.kind for block in found], height)
    caption = f"{name or type(network).__name__} · {count_text(total)} parameters"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 30}" width="{width}" '
            f'height="{height + 30}" font-family="Helvetica, Arial, sans-serif">',
            f'<rect width="{width}" height="{height + 30}" fill="white"/>',
            _text(_MARGIN, 36, caption, 20, "#1f2933", anchor="start", weight="bold"),
            *body,
            "</svg>",
            "",
        ]
    )


def _row(row: Sequence[Block], top: int, largest: int, last: bool) -> list[str]:
    """A row of boxes with arrows between them; all rows but the `last` end with an arrow."""
    body, middle = [], top + _TALLEST / 2 + 10
    for i, block in enumerate(row):
        x = _MARGIN + (i + 0.5) * _PITCH
        breadth, tall = _size(block, largest)
        body.append(_box(x, middle, breadth, tall, _KINDS.get(block.kind, "#c9d1d9"), flat=len(block.shape) < 2))
        end = x + _PITCH - (_size(row[i + 1], largest)[0] / 2 if i + 1 < len(row) else _PITCH / 2)
        if i + 1 < len(row) or not last:
            body.append(_arrow(x + breadth / 2 + _slant(breadth) + 3, end - 3, middle))
        below = top + _TALLEST + 34
        body.append(_text(x, below, short_name(block.name), 12, "#1f2933", weight="bold"))
        body.append(_text(x, below + 16, block.label, 11, "#52606d"))
        body.append(_text(x, below + 31, shape_text(block.shape), 11, "#52606d"))
        body.append(_text(x, below + 46, count_text(block.parameters), 11, "#2f6fb2"))
    return body


def _size(block: Block, largest: int) -> tuple[float, float]:
    """Width and height of a box in pixels: channels and resolution on a logarithmic scale."""
    channels = block.shape[0] if len(block.shape) != 2 else block.shape[1]
    breadth = 6 + 4.2 * math.log2(max(channels, 1) + 1)
    if len(block.shape) == 3:
        return breadth, 22 + (_TALLEST - 22) * math.log2(block.shape[-1] + 1) / math.log2(largest + 1)
    return 12, 26 + 9 * math.log2(max(channels, 1) + 1)


def _slant(breadth: float) -> float:
    return min(14.0, breadth / 2)


def _box(x: float, y: float, breadth: float, tall: float, color: str, flat: bool) -> str:
    """A box in oblique projection with shaded top and right faces, or, if `flat`, a rounded bar for a vector."""
    left, right, top, bottom = x - breadth / 2, x + breadth / 2, y - tall / 2, y + tall / 2
    if flat:
        return f'<rect x="{left:.1f}" y="{top:.1f}" width="{breadth:.1f}" height="{tall:.1f}" rx="5" fill="{color}"/>'
    d = _slant(breadth)
    front = f"{left:.1f},{top:.1f} {right:.1f},{top:.1f} {right:.1f},{bottom:.1f} {left:.1f},{bottom:.1f}"
    lid = f"{left:.1f},{top:.1f} {left + d:.1f},{top - d:.1f} {right + d:.1f},{top - d:.1f} {right:.1f},{top:.1f}"
    side = (
        f"{right:.1f},{top:.1f} {right + d:.1f},{top - d:.1f} {right + d:.1f},{bottom - d:.1f} {right:.1f},{bottom:.1f}"
    )
    faces = [(front, color, 1.0), (lid, color, 0.55), (side, color, 0.75)]
    return "".join(
        f'<polygon points="{points}" fill="{fill}" fill-opacity="{opacity}" stroke="white" stroke-width="1"/>'
        for points, fill, opacity in faces
    )


def _arrow(start: float, end: float, y: float) -> str:
    head = f"{end:.1f},{y:.1f} {end - 7:.1f},{y - 4:.1f} {end - 7:.1f},{y + 4:.1f}"
    line = f'<line x1="{start:.1f}" y1="{y:.1f}" x2="{end - 6:.1f}" y2="{y:.1f}" stroke="#9aa5b1" stroke-width="1.5"/>'
    return f'{line}<polygon points="{head}" fill="#9aa5b1"/>'


def _text(x: float, y: float, text: str, size: int, color: str, anchor: str = "middle", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{color}"'
    return f"<text {place}>{escape(printable(text))}</text>"


def _legend(kinds: Sequence[str], y: float) -> list[str]:
    """A legend of the colours."""
    body, x = [], float(_MARGIN)
    for kind, color in _KINDS.items():
        if kind in kinds:
            body.append(f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="14" height="14" rx="3" fill="{color}"/>')
            body.append(_text(x + 20, y + 2, kind, 12, "#52606d", anchor="start"))
            x += 50 + 7 * len(kind)
    return body
