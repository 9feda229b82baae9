"""Safetensors files with plain data of genmods in the header, and a checksum over header and tensors."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from genmods.core import plain
from genmods.core.atomic import replacing
from genmods.core.checkpoint import CHECKSUM_KEY, FORMAT, FORMAT_KEY, check_format, digest
from genmods.core.errors import UserError


def write(tensors: dict[str, Tensor], path: Path, texts: dict[str, str] | None = None) -> None:
    """Write contiguous tensors of any shape and texts, both by name, atomically; raises OSError as other files do."""
    with replacing(path) as staged:
        try:
            save_file(tensors, staged, texts)
        except SafetensorError as error:  # hides the error number in its text
            if number := re.search(r"\(os error (\d+)\)", str(error)):
                raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
            raise


def save(header: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors of any shape by name, with `header` as JSON, atomically."""
    contiguous = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}  # no ties
    text = json.dumps(header)
    write(contiguous, path, {"genmods": text, FORMAT_KEY: str(FORMAT), CHECKSUM_KEY: _digest(text, contiguous)})


def _digest(header: str, tensors: dict[str, Tensor]) -> str:
    return digest({"header": header, **dict(sorted(tensors.items()))})


def load(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors [...] of a file written by `save`; raises UserError for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library does not document its errors
        raise UserError(f"{path}: not a readable safetensors file ({str(error)[:100]})") from None
    text, number = metadata.get("genmods"), metadata.get(FORMAT_KEY)
    if text is None:
        raise UserError(f"{path}: not a model that genmods exported")
    check_format(path, int(number) if number and re.fullmatch("[0-9]{1,9}", number) else None)
    if metadata.get(CHECKSUM_KEY) != _digest(text, tensors):
        raise UserError(f"{path}: damaged, its content does not match its checksum")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise UserError(f"{path}: not a model that genmods exported, its header is not a block of settings")
    if problem := plain.fault(header):
        raise UserError(f"{path}: not a model that genmods exported, {problem}")
    return header, tensors
