"""The labels of a whole data set: their kind, their counts, and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from genmods.core.label_kinds import LabelKind
from genmods.core.printable import counted
from genmods.data.images import Images, Source

_NAMED = 20  # more classes are counted but not listed


def kind_of(labels: Tensor) -> LabelKind:
    """The kind of `labels`: classes int64 [N], zeros and ones float [N, K], or numbers float [N, K] or [N]."""
    if not labels.is_floating_point():
        return "class"
    return "multilabel" if bool(((labels == 0) | (labels == 1)).all()) else "numbers"


def numbers_as_names(splits: Iterable[Images]) -> list[str]:
    """Names "0", "1", ... of the classes int64 [N], or of the K columns float [N, K], of the labels in `splits`."""
    labels = [images.labels for images in splits if images.labels is not None]
    if not labels:
        return []
    columns = labels[0].shape[1] if labels[0].ndim == 2 else 1
    count = columns if labels[0].is_floating_point() else max(int(part.max()) for part in labels) + 1
    return [str(number) for number in range(count)]


def label_statistics(labels: Tensor | None, kind: LabelKind, classes: int) -> dict[str, Any]:
    """The settings of `DataInfo` about training labels: images per class, or mean and standard deviation of numbers.

    Args:
        labels: int64 [N], or float [N, K] or [N].
        kind: The kind of labels.
        classes: Number of classes.
    """
    if labels is None or kind == "none":
        return {}
    if kind == "class":
        return {"class_counts": labels.bincount(minlength=classes).tolist()}
    columns = labels.double().view(len(labels), -1)
    if kind == "multilabel":
        return {"class_counts": columns.sum(0).long().tolist()}
    return {"target_mean": columns.mean(0).tolist(), "target_std": columns.std(0, correction=0).tolist()}


def label_text(label: Tensor, kind: LabelKind, names: Sequence[str]) -> str:
    """A label, an int64 scalar or numbers [K], in words; classes that were mixed with their weights."""
    if kind == "class" and label.ndim == 0:
        return names[int(label)]
    values = label.reshape(-1).tolist()
    if kind == "numbers":
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))
    present = [(name, value) for name, value in zip(names, values, strict=True) if value > 0.005]
    return ", ".join(name if value > 0.995 else f"{name} {value:.2f}" for name, value in present)


def summary(
    splits: Mapping[str, Images], absent: Mapping[str, str], names: list[str], kind: LabelKind, source: Source
) -> list[str]:
    """The numbers of images by split and class, in two or three lines.

    Args:
        splits: The images of each non-empty split.
        absent: The reason why a split is empty, by split.
        names: The classes, labels or numbers.
        kind: The kind of labels.
        source: The source of the images.
    """
    parts = {split: f"{len(images):,}" for split, images in splits.items()}
    for split, images in splits.items():
        if kind != "none" and images.labels is None:
            parts[split] += " without labels, for predict"
    parts |= {split: f"0 ({reason})" for split, reason in absent.items()}
    numbers = [f"{split} {parts[split]}" for split in ("train", "val", "test") if split in parts]
    noun = {"none": "", "class": "class", "multilabel": "label", "numbers": "number"}[kind]
    numbers += [counted(len(names), noun)] if noun else []
    empty = f"; empty: {', '.join(source.empty_classes)}" if source.empty_classes else ""
    left_out = f"; left out: {source.left_out}" if source.left_out else ""
    lines = [", ".join(numbers) + empty + left_out, *_by_class(splits, names, kind)]
    return [*lines, f"labels: {source.origin}"] if source.origin else lines


def missing(absent: Mapping[str, str], source: Source) -> list[str]:
    """A line for each empty split, with its reason, and one for the classes without images."""
    lines = [f"{split}: no images ({reason})" for split, reason in absent.items()]
    return lines + ([f"classes without images: {', '.join(source.empty_classes)}"] if source.empty_classes else [])


def _by_class(splits: Mapping[str, Images], names: list[str], kind: LabelKind) -> list[str]:
    labels = splits["train"].labels
    if labels is None or kind == "none" or len(names) > _NAMED:
        return []
    if kind == "numbers":
        columns = labels.double().view(len(labels), -1).unbind(1)
        notes = [
            f"{name} {column.min():.4g} to {column.max():.4g}, mean {column.mean():.4g}"
            for name, column in zip(names, columns, strict=True)
        ]
        return [f"train: {'; '.join(notes)}"]
    lines = []
    for split in ("train", "val", "test"):
        if split in splits and (known := splits[split].labels) is not None:
            counts = label_statistics(known, kind, len(names))["class_counts"]
            lines.append(f"{split}: " + ", ".join(f"{name} {n:,}" for name, n in zip(names, counts, strict=True)))
    return lines
