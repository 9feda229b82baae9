"""Kinds of labels of a data set; nothing heavy is imported."""

from __future__ import annotations

from typing import Literal

LabelKind = Literal["none", "class", "multilabel", "numbers"]
"""No labels; classes int64 [N]; zeros and ones float [N, K]; numbers float [N, K]."""
WORDS: dict[LabelKind, str] = {
    "none": "no labels",
    "class": "one class per image",
    "multilabel": "several labels per image",
    "numbers": "numbers",
}
TAKEN_BY: dict[LabelKind, str] = {"class": "classification", "multilabel": "multilabel", "numbers": "regression"}
"""The task for each kind."""


def refusal(kinds: tuple[LabelKind, ...], kind: LabelKind) -> str | None:
    """Why a task for labels of `kinds` (empty for any) cannot be trained on labels of `kind`; None if it can."""
    if not kinds or kind in kinds:
        return None
    instead = f"; the task for them is {TAKEN_BY[kind]}" if kind in TAKEN_BY else ""
    return f"requires data with {' or '.join(WORDS[k] for k in kinds)}, but this data has {WORDS[kind]}{instead}"
