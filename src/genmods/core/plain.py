"""Validation of plain data from an untrusted file, which must not use more memory than the size of the file.

A checkpoint is a zip archive of uncompressed storages and one pickle. The pickle may only refer to dictionaries,
tensors and their storages; the tree must not be larger than the pickle, and a tensor not larger than its storage.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genmods.core.errors import UserError
from genmods.core.printable import counted

_GLOBALS = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch (\w+Storage|Size|bool|u?int\d+|b?float\d+)"
)
_SCALARS = (type(None), bool, int, float, str, torch.dtype)
_DEEPEST, _TIED = 40, 4
_PLAIN_BYTES, _TENSOR_BYTES = 2 << 20, 4096
"""The largest pickle: bytes of plain data, such as the names of 100,000 classes, and bytes for each tensor."""


def nodes_of(path: Path) -> int:
    """The maximum number of values in the checkpoint file `path`: the size of its pickle in bytes.

    Raises ValueError if the file is not an archive of plain data.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("compressed")
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("its uncompressed size is larger than the file")
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("two entries have the same name")
        pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
        if len(pickles) != 1:
            raise ValueError("it does not contain exactly one pickle")
        check_pickle(entries)
        content = archive.read(pickles[0])
    texts = ["", ""]
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("GLOBAL", "STACK_GLOBAL"):
            name = str(argument) if opcode.name == "GLOBAL" else " ".join(texts)
            if not _GLOBALS.fullmatch(name):
                raise ValueError(f"names {name.replace(' ', '.')}")
        elif isinstance(argument, str):
            texts = [texts[-1], argument]
    return len(content)


def check_pickle(entries: Sequence[zipfile.ZipInfo]) -> None:
    """Raises ValueError if the pickle among the `entries` of a checkpoint is too large for its number of tensors."""
    size = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    tensors = sum("/data/" in entry.filename for entry in entries)
    if size > _PLAIN_BYTES + _TENSOR_BYTES * tensors:
        raise ValueError(f"its plain data have {size:,} bytes for {counted(tensors, 'tensor')}")


def fault(tree: Any, most: int | None = None, size: int | None = None) -> str:
    """The first fault of plain data, such as "state_dict.a is a sparse tensor"; empty if there is none.

    Args:
        tree: Dictionaries, lists, tuples, numbers, strings and tensors of any shape.
        most: Maximum number of values.
        size: Maximum total size of the tensors in bytes, without tied weights.
    """
    storages, total = {}, 0
    for count, (path, value) in enumerate(_walk(tree)):
        if most is not None and count > most:
            return "it contains more values than fit into the file"
        if isinstance(value, Tensor):
            if problem := _tensor_fault(value):
                return f"{path} is {problem}"
            storage = value.untyped_storage()
            storages[storage._cdata] = storage.nbytes()
            total += value.nbytes
        elif problem := _value_fault(value, path.count("\0")):
            return f"{_shown(path)} {problem}"
    if size is not None and (sum(storages.values()) > size or total > _TIED * size):
        return "its tensors are larger than the file"
    return ""


def size(tree: Any) -> int:
    """Bytes of the tensors of any shape in plain data."""
    return sum(value.nbytes for _, value in _walk(tree) if isinstance(value, Tensor))


def not_finite(tree: Any) -> Iterator[tuple[str, Tensor]]:
    """The floating-point tensors of any shape in plain data that contain non-finite numbers, with their paths."""
    for path, value in _walk(tree):
        if isinstance(value, Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            yield _shown(path), value


def check_finite(fresh: nn.Module, weights: dict[str, Tensor]) -> None:
    """Raise UserError if `weights` [...] by name contain non-finite numbers.

    Entries of buffers that are not finite in the newly built module `fresh` either are accepted.
    """
    for name, value in not_finite(weights):
        if not is_born_so(value, dict(fresh.named_buffers()).get(name)):
            raise UserError(f"the checkpoint's {name} is not finite; use an earlier checkpoint")


def is_born_so(value: Tensor, fresh: Tensor | None) -> bool:
    """Whether all non-finite entries of `value` [...] are also non-finite in the buffer `fresh` [...]."""
    if fresh is None or fresh.shape != value.shape:
        return False
    return bool((torch.isfinite(value) | ~torch.isfinite(fresh.to(value.device))).all())


def _walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree with their paths, keys separated by NUL; values that `_value_fault` refuses are not
    entered."""
    yield path, value
    if path.count("\0") >= _DEEPEST:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{path}\0{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _walk(item, f"{path}\0{i}")


def _shown(path: str) -> str:
    return ".".join(path.split("\0")[1:]) or "it"


def _value_fault(value: Any, depth: int) -> str:
    if depth >= _DEEPEST:
        return "is nested too deeply"
    if isinstance(value, dict):
        if type(value) not in (dict, OrderedDict):
            return f"is a {type(value).__name__}, not plain data"
        return "" if all(type(key) in (str, int) for key in value) else "has keys that are not text"
    if isinstance(value, list | tuple):
        return ""
    if type(value) not in _SCALARS:
        return f"is a {type(value).__name__}, not plain data"
    return "contains an integer with too many digits" if type(value) is int and value.bit_length() > 128 else ""


def _tensor_fault(tensor: Tensor) -> str:
    if type(tensor) is not Tensor:
        return f"a {type(tensor).__name__}, not a plain tensor"
    if tensor.layout != torch.strided:
        return "a sparse tensor"
    if tensor.is_meta:
        return "a tensor without data"
    if tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
        return "a tensor with transformed values"
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    end = (tensor.storage_offset() + last + 1) * tensor.element_size()
    if tensor.numel() and end > tensor.untyped_storage().nbytes():
        return "a tensor beyond its storage"
    return ""
