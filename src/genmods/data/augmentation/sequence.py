"""All augmentations of a recipe on one batch of stored images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.core.batch import CHOICES, INPUT, LABEL, PAIRED, Batch
from genmods.core.errors import UserError
from genmods.data.augmentation.base import Augmentation
from genmods.data.images import to_float


def augmented(batch: Batch, augment: Sequence[Augmentation], num_classes: int, levels: int = 256) -> Batch:
    """A batch of stored images [B, C, H, W] as float32 in [-1, 1], with all augmentations applied in sequence.

    The random choices `CHOICES` [B, size] are divided among the augmentations. Labels become weights [B, K] if an
    augmentation mixes them.
    """
    if any(step.mixes for step in augment) and not batch[LABEL].is_floating_point():
        batch = batch | {LABEL: F.one_hot(batch[LABEL], num_classes).float()}
    if augment:
        channels = batch[INPUT].shape[1]
        batch = _joined(batch, augment)
        parts = batch[CHOICES].split([step.num_choices for step in augment], dim=1)
        for step, choices in zip(augment, parts, strict=True):
            moved = step.moves and batch[INPUT].dtype == torch.uint8
            batch = step.apply(batch if moved else as_float(batch, levels), choices)
        if PAIRED in batch:
            batch = batch | {INPUT: batch[INPUT][:, :channels], PAIRED: batch[INPUT][:, channels:]}
    return as_float(batch, levels)


def chosen(u: Tensor, augment: Sequence[Augmentation], height: int, width: int) -> Tensor:
    """What all augmentations choose by random numbers `u` [B, sum of num_uniforms], [B, sum of num_choices]."""
    parts = u.split([step.num_uniforms for step in augment], dim=1)
    return torch.cat([step.choices(part, height, width) for step, part in zip(augment, parts, strict=True)], dim=1)


def _joined(batch: Batch, augment: Sequence[Augmentation]) -> Batch:
    """The batch with both images of a pair as the channels of one, so that they are moved alike."""
    if PAIRED not in batch:
        return batch
    if other := next((type(step).__name__ for step in augment if not step.moves), None):
        raise UserError(f"data.augment: paired images can only be moved, got {other}")
    return batch | {INPUT: torch.cat([batch[INPUT], batch[PAIRED]], dim=1)}


def as_float(batch: Batch, levels: int) -> Batch:
    """The batch with stored images [B, C, H, W] converted to float32 in [-1, 1]."""
    stored = [name for name in (INPUT, PAIRED) if name in batch and not batch[name].is_floating_point()]
    return batch | {name: to_float(batch[name], levels) for name in stored}
