"""Seeded, stratified splits: the split of a sample depends only on (seed, index)."""

from __future__ import annotations

import torch
from torch import Tensor

from genmods.core.random import fold


def shuffled(n: int, seed: int, epoch: int) -> Tensor:
    """A permutation of range(n), int64 [n], a pure function of (seed, epoch)."""
    return fold(seed, epoch, torch.arange(n)).argsort(stable=True)


def hold_out(labels: Tensor | None, n: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (kept, held out), each ascending, of n samples; `round(fraction * n)` are held out.

    The split is stratified by `labels` int64 [n]: the fraction is the same for each class, rounded so that the total is
    exact, and no class loses its last sample. Without labels (None, or not one integer per sample) all samples form one
    class.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"a held-out fraction must lie in [0, 1), got {fraction}")
    strata = torch.zeros(n, dtype=torch.int64)
    if labels is not None and labels.ndim == 1 and not labels.is_floating_point():
        strata = labels
    order = shuffled(n, seed, -1)
    out = []
    wanted = given = 0.0
    for label in strata.unique().tolist():
        members = order[strata[order] == label]
        wanted += fraction * len(members)
        take = max(0, min(round(wanted - given), len(members) - 1))
        given += take
        out.append(members[:take])
    held = torch.cat(out).sort().values if out else torch.empty(0, dtype=torch.int64)
    kept = torch.ones(n, dtype=torch.bool)
    kept[held] = False
    return kept.nonzero().squeeze(1), held
