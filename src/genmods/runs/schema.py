"""The schema of a checkpoint's content, validated before use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.label_kinds import WORDS as KINDS
from genmods.core.printable import printable

SECTIONS = ("name", "seed", "task", "data")
"""The sections of a recipe that describe the model and its training data."""
_LARGEST = 2**31

Fits = Callable[[Any], bool]


def check_content(content: dict[str, Any]) -> None:
    """Raise UserError if a key of a checkpoint's `content` is missing or has an unexpected type."""
    foreign, other = "it was not written by `fit` or `export`", "it was written by another version of genmods"
    _check(content, _NEEDED, "", foreign)
    _check(content, {name: kind for name, kind in _OPTIONAL.items() if name in content}, "", foreign)
    for name in ("ema", "power_ema"):
        _check_averages(name, content.get(name), content["state_dict"])
    _check(content["recipe"], _RECIPE, "recipe.", foreign)
    _check(content["data_info"], _INFO, "data_info.", other)
    if unknown := set(content["data_info"]) - set(_INFO):
        raise UserError(f"data_info.{min(unknown)}: written by another version of genmods")
    if (record := content["preparation"]) is not None:
        if set(record) != set(_PREPARATION):
            raise UserError("preparation: written by another version of genmods")
        _check(record, _PREPARATION, "preparation.", other)


def _check(block: dict[str, Any], kinds: dict[str, tuple[Fits, str]], prefix: str, otherwise: str) -> None:
    """Raise UserError if a value of `block` is missing, with `otherwise` as the reason, or is not of its kind."""
    for name, (fits, what) in kinds.items():
        if name not in block:
            raise UserError(f"has no {prefix}{name}; {otherwise}")
        if not fits(value := block[name]):
            shown = printable(repr(value))[:60] if isinstance(value, int | float | str | None) else type(value).__name__
            raise UserError(f"{prefix}{name} must be {what}, got {shown}")


def _check_averages(name: str, averages: Any, state: dict[str, Tensor]) -> None:
    """Raise UserError unless averages have the names and shapes of the floating-point tensors in `state`."""
    shapes = {key: tensor.shape for key, tensor in state.items() if tensor.is_floating_point()}
    for weights in averages["weights"] if averages else ():
        found = {key: tensor.shape for key, tensor in weights.items()}
        if other := {key for key, _ in found.items() ^ shapes.items()}:
            raise UserError(f"{name}.weights must be averages of state_dict, but {min(other)} differs")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _block(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value))


def _tensors(value: Any) -> bool:
    return _block(value) and all(isinstance(item, Tensor) for item in value.values())


def _averages(value: Any, parameters: str = "decays") -> bool:
    if not _block(value) or not all(isinstance(value.get(key), list) for key in ("weights", parameters)):
        return False
    if not _count(value.get("updates")) or not 1 <= len(value["weights"]) == len(value[parameters]):
        return False
    return all(map(_tensors, value["weights"]))


def _powers(value: Any) -> bool:
    return _averages(value, "lengths")


def _run_ids(value: Any) -> bool:
    return _block(value) and all(item is None or _text(item) for item in value.values())


def _counts(value: Any) -> bool:
    return _block(value) and all(map(_count, value.values()))


def _figures(value: Any) -> bool:
    return _block(value) and (not value or (_block(value.get("values")) and _count(value.get("step"))))


def _shape(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= 4:
        return False
    return all(_count(n) and 1 <= n <= 2**16 for n in value) and math.prod(value) < _LARGEST


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _channels(value: Any) -> bool:
    return _number(value) or (isinstance(value, list | tuple) and bool(value) and all(map(_number, value)))


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


_NEEDED: dict[str, tuple[Fits, str]] = {
    "recipe": (_block, "a block of sections"),
    "data_info": (_block, "a block of facts"),
    "preparation": (lambda value: value is None or _block(value), "how images are prepared"),
    "state_dict": (_tensors, "tensors by name"),
}
_OPTIONAL: dict[str, tuple[Fits, str]] = {
    "ema": (_averages, "averaged weights with their decays"),
    "power_ema": (_powers, "averaged weights with their lengths"),
    "global_step": (_count, "a number of steps"),
    "epoch": (_count, "a number of epochs"),
    "precision": (lambda value: value is None or _text(value), "the name of a precision"),
    "data_hash": (lambda value: value is None or _text(value), "a hash"),
    "run_ids": (_run_ids, "ids by logger"),
    "split_sizes": (_counts, "a number of samples by split"),
    "figures": (_figures, "numbers by name, with their step"),
    "callbacks": (_block, "states by callback"),
    "loops": (_block, "states by loop"),
    "optimizer_states": (lambda value: isinstance(value, list), "a list of states"),
    "lr_schedulers": (lambda value: isinstance(value, list), "a list of states"),
}
_RECIPE: dict[str, tuple[Fits, str]] = {section: (lambda _: True, "a section") for section in SECTIONS} | {
    "name": (_text, "a text")
}
_PREPARATION: dict[str, tuple[Fits, str]] = {
    "size": (lambda value: _shape(value) and len(value) == 2, "a height and a width"),
    "channels": (lambda value: _count(value) and value >= 1, "a number of channels"),
    "fit": (lambda value: value in ("crop", "pad", "stretch"), "crop, pad or stretch"),
    "background": (lambda value: value in ("white", "black"), "white or black"),
    "range": (
        lambda value: value is None or (isinstance(value, list | tuple) and _channels(value) and len(value) == 2),
        "black and white",
    ),
    "levels": (lambda value: _count(value) and 2 <= value <= 2**16, "a number of grey levels"),
    "max_pixels": (_count, "a number of pixels"),
}
_INFO: dict[str, tuple[Fits, str]] = {
    "shape": (_shape, "1 to 4 sizes"),
    "num_classes": (lambda value: _count(value) and value <= 10**6, "a number of classes"),
    "mean": (_channels, "a number for each channel"),
    "std": (_channels, "a number for each channel"),
    "levels": (_count, "a number of grey levels"),
    "class_names": (_names, "a list of names"),
    "label_kind": (lambda value: value in KINDS, f"one of {', '.join(KINDS)}"),
    "class_counts": (lambda value: isinstance(value, list) and all(map(_count, value)), "a list of counts"),
    "target_mean": (lambda value: value == [] or _channels(value), "a list of numbers"),
    "target_std": (lambda value: value == [] or _channels(value), "a list of numbers"),
    "columns": (
        lambda value: isinstance(value, list | tuple) and len(value) in (2, 3) and all(map(_text, value)),
        "2 names, and a separator",
    ),
}
