"""Weights of other programs: read from a file without executing code, and fitted to a network by name and shape.

A file is a safetensors file or one of `torch.save`. Its tensors may lie inside other dictionaries (`state_dict`,
`model`, ...), and their names may begin with the name of the module that held the network (`module.`, `model.`,
`network.`, ...): the part and the prefix with the most tensors that fit are taken.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genmods.core.checkpoint import FORMAT_KEY
from genmods.core.errors import UserError
from genmods.core.lfs import ADVICE, is_pointer
from genmods.core.plain import not_finite
from genmods.core.printable import counted

Tensors = dict[str, Tensor]
Convert = Callable[[Tensors], Tensors]
"""Renames tensors of another release of a network."""

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_AVERAGED = re.compile("ema|teacher")
_COUNTER = "num_batches_tracked"
_DEEPEST, _SHOWN = 4, 4


@dataclass(frozen=True)
class Loaded:
    """What was loaded into a network.

    Args:
        source: The file or run, with the part of it that was taken.
        total: The number of tensors of the network.
        new: Names of the tensors that are newly initialised: those that are missing, or of another shape.
        unused: Names of the tensors of the source for which the network has no tensor.
        note: How tensors were matched, unless by name.
    """

    source: str
    total: int
    new: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    note: str = ""

    def __str__(self) -> str:
        parts = [f"loaded {self.total - len(self.new)} of {counted(self.total, 'tensor')}{self.note}"]
        if self.new:
            parts.append(f"{len(self.new)} newly initialised: {_some(self.new)}")
        parts.append(f"{len(self.unused)} unused: {_some(self.unused)}" if self.unused else "0 unused")
        return f"{self.source}: {'; '.join(parts)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def load_weights(network: nn.Module, path: str | Path) -> Loaded:
    """Load the tensors [...] of a file into `network`, as far as names and shapes agree.

    Args:
        network: The network, or a module of another library.
        path: A file; an appended `#sha256=HEX` checks its hash, or the beginning of it.

    Returns:
        What was loaded; print it.

    Raises:
        UserError: If the file cannot be read, is not the one with this hash, or no tensor fits.
    """
    file, parts = read_weights(path)
    return load_best(network, file, parts)


def load_best(network: nn.Module, file: Path, parts: dict[str, Tensors], convert: Convert | None = None) -> Loaded:
    """Load that of the `parts` of a file of which most tensors [...] fit, where needed after `convert`."""
    own = dict(network.state_dict())
    places = [_Place(name, prefix, tensors) for name, tensors in parts.items() for prefix in _prefixes(tensors)]
    best = max(places, key=lambda place: _fit(own, place.peeled))
    if convert and _fit(own, best.peeled)[1] < len(own):
        whole = (_Place(name, "", tensors) for name, tensors in parts.items())
        converted = [_Place(place.name, place.prefix, convert(place.peeled), True) for place in (best, *whole)]
        best = max((best, *converted), key=lambda place: _fit(own, place.peeled))
    if _fit(own, best.peeled)[0]:
        return fit_tensors(network, best.peeled, best.source(file))
    for name, tensors in parts.items() if file.suffix != ".safetensors" else ():  # which are sorted by name
        if renamed := in_order(own, tensors):
            source = _Place(name, "", tensors).source(file)
            return fit_tensors(network, renamed, source, ", by order and shape as their names differ")
    raise UserError(f"{file}: {_none_fits(own, parts)}")


class _Place(NamedTuple):
    """Tensors of a file: the part that contains them, the prefix of their names, whether that is removed already."""

    name: str
    prefix: str
    tensors: Tensors
    bare: bool = False

    @property
    def peeled(self) -> Tensors:
        start = "" if self.bare else self.prefix
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}

    def source(self, file: Path) -> str:
        place = ".".join(filter(None, (self.name, self.prefix.rstrip("."))))
        return f"{file} ({place})" if place else str(file)


def fit_tensors(network: nn.Module, tensors: Mapping[str, Tensor], source: str, note: str = "") -> Loaded:
    """Load the tensors [...] whose names and shapes agree; raises UserError if none does, or one is quantised
    or not finite."""
    own = network.state_dict()
    fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    if not _fit(own, fitting)[0]:
        raise UserError(f"{source}: no weights fit a {type(network).__name__} for this data")
    for name, value in fitting.items():
        if value.is_quantized or own[name].is_floating_point() > value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise UserError(f"{source}: {name} is {kind}; save quantised weights as floating-point numbers")
    for name, _ in not_finite(fitting):
        raise UserError(f"{source}: {name} is not finite")
    network.load_state_dict(fitting, strict=False)
    new = [name for name in own if name not in fitting and not name.endswith(_COUNTER)]
    unused = [name for name in tensors if name not in own and not name.endswith(_COUNTER)]
    return Loaded(source, len(fitting) + len(new), new, unused, note)


def _fit(own: Tensors, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many filters and matrices fit, and how many tensors; biases and norms alone fit by chance."""
    fitting = [value for name, value in tensors.items() if name in own and own[name].shape == value.shape]
    return sum(value.ndim > 1 for value in fitting), len(fitting)


def _none_fits(own: Tensors, parts: dict[str, Tensors]) -> str:
    theirs = max(parts.values(), key=len, default={})
    first, wanted = next(iter(theirs), "none"), next(iter(own), "none")
    tensors = counted(len(theirs), "tensor")
    return f"none of its {tensors} ({first}, ...) fits the {len(own)} of the network ({wanted}, ...)"


def read_weights(path: str | Path) -> tuple[Path, dict[str, Tensors]]:
    """The file, and the dictionaries of tensors [...] in it by their place, averaged weights first."""
    text, _, digest = str(path).partition("#sha256=")
    file = Path(text).expanduser()
    if file.is_dir():
        raise UserError(f"weights: {file} is a folder; the network of a run is taken by `from: {file}`")
    if not file.is_file():
        raise UserError(f"weights: there is no file {file}")
    if digest:
        _check_digest(file, digest)
    if is_pointer(file):
        raise UserError(f"{file}: {ADVICE}")
    content = _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
    if isinstance(content, dict) and FORMAT_KEY in content:
        raise UserError(f"{file}: a checkpoint of genmods; take its network by `from: {file}`")
    parts = dict(_parts(content))
    if not parts:
        raise UserError(f"{file}: contains no tensors by name")
    return file, dict(sorted(parts.items(), key=lambda part: not _AVERAGED.search(part[0].lower())))


def _check_digest(file: Path, digest: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if not re.fullmatch("[0-9a-f]{8,64}", digest.lower()):
        raise UserError(f"weights: #sha256= must be 8 to 64 hexadecimal digits, got {digest}")
    if not found.startswith(digest.lower()):
        raise UserError(f"{file}: its SHA-256 is {found}, not {digest}")


def _read_safetensors(file: Path) -> Tensors:
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except Exception as error:  # the library does not document its errors
        raise UserError(f"{file}: not a readable safetensors file ({str(error)[:100]})") from None


def _read_pickle(file: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind, for any bytes
        if "TorchScript" in str(error):
            raise UserError(f"{file}: a TorchScript archive, which contains code; save its state_dict alone") from None
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"{file}: contains {foreign[1]}, which is code and not loaded; save its state_dict alone"
            ) from None
        raise UserError(f"{file}: not a readable file of weights ({type(error).__name__})") from None


def _parts(content: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, Tensors]]:
    """The dictionaries that contain tensors by name, with their places."""
    if not isinstance(content, Mapping) or depth == _DEEPEST:
        return
    tensors = {
        _WRAPPERS.sub("", name): value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield place, tensors
    for name, value in content.items():
        yield from _parts(value, f"{place}.{name}".lstrip("."), depth + 1)


def _prefixes(tensors: Tensors) -> list[str]:
    """The beginnings of names up to a dot, shortest first."""
    found = {"": None}
    for name in tensors:
        words = name.split(".")[:-1]
        found |= {".".join(words[:n]) + ".": None for n in range(1, min(len(words), _DEEPEST) + 1)}
    return sorted(found, key=lambda prefix: prefix.count("."))


def in_order(own: Tensors, tensors: Tensors) -> Tensors | None:
    """`tensors` [...] under the names of `own`, if both list the same shapes in the same order; otherwise None.

    The weight and bias of the last layer may differ in shape. Only for networks of convolutions: matrices of one
    shape, such as the projections of attention, are not registered in an order that is the same everywhere.
    """
    ours, theirs = ({n: v for n, v in named.items() if not n.endswith(_COUNTER)} for named in (own, tensors))
    pairs = list(zip(ours.items(), theirs.items(), strict=False))
    if len(ours) != len(theirs) or len(pairs) < 3 or sum(value.ndim == 2 for value in ours.values()) > 1:
        return None
    for number, ((name, value), (other, found)) in enumerate(pairs):
        same = value.shape == found.shape or (number >= len(pairs) - 2 and value.shape[1:] == found.shape[1:])
        if not same or name.rpartition(".")[2] != other.rpartition(".")[2]:
            return None
    return {name: found for (name, _), (_, found) in pairs}
