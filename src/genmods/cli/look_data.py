"""`genmods look --data RECIPE`: the images that a recipe trains on, before and after augmentation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from torch import Tensor

EPOCHS = 4


def run(options: argparse.Namespace) -> None:
    from genmods.config.recipe import load
    from genmods.core.batch import INPUT, LABEL
    from genmods.data.labeling import label_text
    from genmods.runs.fit import build_data
    from genmods.visual.batches import before_and_after
    from genmods.visual.style import save

    if options.n < 1:
        raise UserError(f"--n must be at least 1, got {options.n}")
    data = build_data(load(options.data, options.overrides))
    data.setup("fit")
    say(*data.summary())
    index = data.first_batch()
    shown = min(options.n, len(index))
    before = data.prepare(data.splits["train"].batch(index))
    after = [data.seen(index, epoch) for epoch in range(EPOCHS if data.is_augmented else 1)]
    kind, names = data.info.label_kind or "none", data.info.class_names
    columns: dict[str, Tensor] = {"before augmentation": data.show(before[INPUT][:shown])}
    columns |= {f"epoch {epoch}": data.show(batch[INPUT][:shown]) for epoch, batch in enumerate(after)}
    say(*(f"{name}: {_range(images)}" for name, images in columns.items()))
    files = data.names("train")
    captions = [files[int(i)] for i in index[:shown]]
    labels = [
        [label_text(batch[LABEL][row], kind, names) if LABEL in batch else "" for batch in (before, *after)]
        for row in range(shown)
    ]
    path = options.out / "data.png"
    save(before_and_after(columns, captions, labels), path)
    say(path)


def _range(images: Tensor) -> str:
    """Shape, least and greatest value, mean and standard deviation of images [N, C, H, W]."""
    low, high, mean, std = (float(value) for value in (images.min(), images.max(), images.mean(), images.std()))
    return f"{list(images.shape[1:])} in [{low:.2f}, {high:.2f}], mean {mean:.2f}, standard deviation {std:.2f}"
