"""Averages of weights chosen after training: of a run with the callback `power_ema` with any length, and of several
runs ("model soups", Wortsman et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from genmods.callbacks.power_ema import FOLDER
from genmods.core import safetensors
from genmods.core.errors import UserError
from genmods.optim.power_average import Profile, combination
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import find_checkpoint, run_folder


@dataclass(frozen=True)
class Average:
    """An average over the training of a run.

    Attributes:
        length: Its length, relative to the training.
        weights: The averaged weights [...] of the task by name.
        snapshots: The number of snapshots combined.
        error: The relative error of the weighting of the steps.
        megabytes: The size of the snapshots.
    """

    length: float
    weights: dict[str, Tensor]
    snapshots: int
    error: float
    megabytes: float

    def __str__(self) -> str:
        return (
            f"average of length {self.length:g} from {self.snapshots} snapshots ({self.megabytes:.1f} MB),"
            f" relative error of its weighting {self.error:.1e}"
        )


def combined(parts: Iterable[tuple[float, Mapping[str, Tensor]]]) -> dict[str, Tensor]:
    """The linear combination of weights [...] by name with their factors, summed in float64, in float32."""
    total: dict[str, Tensor] = {}
    for factor, tensors in parts:
        for name, tensor in tensors.items():
            total[name] = total.get(name, torch.zeros((), dtype=torch.float64)) + factor * tensor.double()
    return {name: tensor.float() for name, tensor in total.items()}


def average(folder: Path, length: float) -> Average:
    """The average of `length` at the end of the run in `folder`.

    Raises:
        UserError: If there are no snapshots, or the length is out of range.
    """
    paths = sorted((folder / FOLDER).glob("*.safetensors"))
    files = [safetensors.load(path) for path in paths]
    kept = [(k, header, tensors) for header, tensors in files for k in range(len(header["lengths"]))]
    profiles = [Profile(header["lengths"][k], header["step"]) for k, header, _ in kept]
    if not profiles:
        raise UserError(f"{folder}: no snapshots of averages; train with the callback power_ema")
    try:
        factors, error = combination(profiles, Profile(length, max(profile.step for profile in profiles)))
    except ValueError as fault:
        raise UserError(str(fault)) from None
    own = ((factor, _of_length(k, tensors)) for factor, (k, _, tensors) in zip(factors, kept, strict=True))
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    return Average(length, combined(own), len(profiles), error, megabytes)


def _of_length(k: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the average number `k` in a snapshot, by their names in the task."""
    split = {name: name.partition("/") for name in tensors}
    return {name: tensors[key] for key, (number, _, name) in split.items() if int(number) == k}


def averaged(path: str | Path, length: float) -> tuple[Checkpoint, Average]:
    """The checkpoint at `path`, with its weights replaced by the average of `length`."""
    file = find_checkpoint(path, prefer="last")
    found = average(run_folder(file), length)
    return replace(Checkpoint.read(file), averages=found.weights), found


def soup(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The first checkpoint, with the mean of the averaged weights of all of them.

    Raises:
        UserError: If the weights of two of them have other names or shapes.
    """
    first, *others = checkpoints
    shapes = {name: tensor.shape for name, tensor in first.weights().items()}
    for other in others:
        theirs = {name: tensor.shape for name, tensor in other.weights().items()}
        if shapes != theirs:
            name = min(name for name in shapes.keys() | theirs.keys() if shapes.get(name) != theirs.get(name))
            raise UserError(f"{other.source}: the weights {name} are not those of {first.source}")
    floating = [
        {name: tensor for name, tensor in one.weights().items() if tensor.is_floating_point()} for one in checkpoints
    ]
    mean = combined((1 / len(checkpoints), weights) for weights in floating)
    return replace(first, averages=mean)
