"""Averages of a run's weights with a length chosen after training, from snapshots of the callback `power_ema`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from genmods.callbacks.power_ema import FOLDER
from genmods.core import safetensors
from genmods.core.errors import UserError
from genmods.optim.power_average import Profile, combination
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import find_checkpoint, run_folder


class Average(NamedTuple):
    """Averaged weights of a task by name, the number of snapshots used, and the relative error of the weighting."""

    weights: dict[str, Tensor]
    snapshots: int
    error: float


def average(folder: Path, length: float) -> Average:
    """The average of `length` at the end of the run in `folder`.

    Raises:
        UserError: If there are no snapshots, or the length is out of range.
    """
    files = [safetensors.load(path) for path in sorted((folder / FOLDER).glob("*.safetensors"))]
    kept = [(k, header, tensors) for header, tensors in files for k in range(len(header["lengths"]))]
    profiles = [Profile(header["lengths"][k], header["step"]) for k, header, _ in kept]
    if not profiles:
        raise UserError(f"{folder}: no snapshots of averages; train with the callback power_ema")
    try:
        factors, error = combination(profiles, Profile(length, max(profile.step for profile in profiles)))
    except ValueError as fault:
        raise UserError(str(fault)) from None
    total: dict[str, Tensor] = {}
    for factor, (k, _, tensors) in zip(factors, kept, strict=True):
        for key, tensor in tensors.items():
            number, _, name = key.partition("/")
            if int(number) == k:
                total[name] = total.get(name, torch.zeros((), dtype=torch.float64)) + factor * tensor.double()
    return Average({name: tensor.float() for name, tensor in total.items()}, len(profiles), error)


def averaged(path: str | Path, length: float) -> tuple[Checkpoint, Average]:
    """The checkpoint at `path`, with its weights replaced by the average of `length`."""
    file = find_checkpoint(path, prefer="last")
    found = average(run_folder(file), length)
    return replace(Checkpoint.read(file), averages=found.weights), found
