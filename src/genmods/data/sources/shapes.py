"""The kind of labels of `synthetic` by its settings, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genmods.core.label_kinds import LabelKind


def kind_of_labels(settings: Mapping[str, Any]) -> LabelKind:
    """What the labels of `synthetic` with `settings` are."""
    kinds: dict[str, LabelKind] = {"class": "class", "place": "numbers", "multilabel": "multilabel"}
    return kinds[settings["targets"]]
