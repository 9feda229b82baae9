"""Architecture diagrams as SVG: a row of blocks whose height is the resolution and whose width is the channels.

Skip connections are arcs between blocks, or a number at both ends if these are in different rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from torch import nn

from genmods.core.printable import printable
from genmods.visual.blocks import Block, blocks
from genmods.visual.style import shape_text

_KINDS = {
    "convolution": "#4c86c6",
    "pooling": "#e07a2f",
    "fully connected": "#4ba47c",
    "attention": "#8c6bb8",
    "other": "#8a97a6",
}
_SKIP = "#b0413e"
_ROW, _TALLEST, _PITCH, _MARGIN, _ARC = 13, 150, 118, 40, 14


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
    skips = [(source + 1, target + 1) for target, block in enumerate(found) for source in block.skips]
    rows = math.ceil(len(drawn) / _ROW)
    per_row = math.ceil(len(drawn) / rows)
    width = 2 * _MARGIN + per_row * _PITCH
    body, height = [], 64
    largest = max([block.shape[-1] for block in drawn if len(block.shape) == 3], default=1)
    for start in range(0, len(drawn), per_row):
        row = drawn[start : start + per_row]
        arcs = nested([(i - start, j - start) for i, j in skips if start <= i and j < start + per_row])
        split = {k: skip for k, skip in enumerate(skips, 1) if skip[0] // per_row != skip[1] // per_row}
        tags = [(i - start, k) for k, skip in split.items() for i in skip if start <= i < start + per_row]
        height += 8 + _ARC * max(arcs.values(), default=0) if arcs else 16 * bool(tags)
        body += _row(row, height, largest, last=start + per_row >= len(drawn))
        tops = [height + _TALLEST / 2 + 10 - _size(block, largest)[1] / 2 for block in row]
        body += [_skip(i, j, tops, height - _ARC * level) for (i, j), level in arcs.items()]
        body += [_tag(i, str(number), tops) for i, number in tags]
        height += _TALLEST + 120
    body += _legend([block.kind for block in found], height, len(skips))
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
        x = _place(i)
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


def nested(spans: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """A level from 1 for each span (first, last) so that those that overlap differ and shorter ones are lower."""
    levels: dict[tuple[int, int], int] = {}
    for first, last in sorted(spans, key=lambda span: span[1] - span[0]):
        crossed = [level for (i, j), level in levels.items() if i <= last and first <= j]
        levels[first, last] = 1 + max(crossed, default=0)
    return levels


def _place(number: int) -> float:
    """The middle of the block with this number in its row."""
    return _MARGIN + (number + 0.5) * _PITCH


def _skip(source: int, target: int, tops: Sequence[float], y: float) -> str:
    """An arc at height `y` from the top of a block to that of a later one in the same row."""
    left, right, end = _place(source) + 5, _place(target) - 5, tops[target] - 10
    path = f"M{left:.1f},{tops[source] - 9:.1f} V{y + 6:.1f} q0,-6 6,-6 H{right - 6:.1f} q6,0 6,6 V{end - 5:.1f}"
    head = f"{right:.1f},{end:.1f} {right - 4:.1f},{end - 7:.1f} {right + 4:.1f},{end - 7:.1f}"
    return (
        f'<path d="{path}" fill="none" stroke="{_SKIP}" stroke-width="1.5"/><polygon points="{head}" fill="{_SKIP}"/>'
    )


def _tag(number: int, text: str, tops: Sequence[float]) -> str:
    """The number of a skip connection between rows, above a block."""
    x, y = _place(number), tops[number] - 22
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="white" stroke="{_SKIP}" stroke-width="1.5"/>'
    return circle + _text(x, y + 4, text, 11, _SKIP, weight="bold")


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


def _legend(kinds: Sequence[str], y: float, skips: int) -> list[str]:
    """A legend of the colours, and of the arcs of skip connections if there are any."""
    body, x = [], float(_MARGIN)
    for kind, color in _KINDS.items():
        if kind in kinds:
            body.append(f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="14" height="14" rx="3" fill="{color}"/>')
            body.append(_text(x + 20, y + 2, kind, 12, "#52606d", anchor="start"))
            x += 50 + 7 * len(kind)
    if skips:
        body.append(f'<line x1="{x:.1f}" y1="{y - 3:.1f}" x2="{x + 16:.1f}" y2="{y - 3:.1f}" stroke="{_SKIP}"/>')
        body.append(_text(x + 22, y + 2, "skip connection" + "s" * (skips > 1), 12, "#52606d", anchor="start"))
    return body
