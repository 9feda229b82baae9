"""Folders of small images with tables of labels."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from genmods.data.files import Picture, write_image
from genmods.data.sources.image_folder import ImageFolder


def save(root: Path, names) -> None:
    """Images of 4 x 4 pixels; the place of a name among them is its grey value."""
    for value, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, Picture(torch.full((1, 4, 4), value / 127.5 - 1)))


def table(path: Path, rows, delimiter=",", encoding="utf-8", newline="\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator=newline).writerows(rows)


def windows(path: str) -> str:
    return path.replace("/", "\\")


def read(root: Path, **settings):
    """{file: label} by split, and the source."""
    source = ImageFolder(str(root), **settings)
    found = {}
    for split, images in source.read().items():
        labels = [None] * len(images) if images.labels is None else images.labels.tolist()
        found[split] = dict(zip(images.names, labels, strict=True))
        order = [images.pixels[i, 0, 0, 0].item() for i in range(len(images))]
        assert order == sorted(order)  # each label is beside its own image
    return found, source


def classes(root: Path, **settings) -> dict:
    """{file: name of its class} of the training images."""
    found, source = read(root, **settings)
    assert source.kind_of_labels == "class"
    return {name: source.class_names[label] for name, label in found["train"].items()}
