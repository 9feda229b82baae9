"""What the labels of a data set are; nothing heavy is imported."""

from __future__ import annotations

from typing import Literal

LabelKind = Literal["none", "class", "several", "numbers"]
"""There are none; classes int64 [N]; zeros and ones float [N, K]; numbers float [N, K]."""
WORDS: dict[LabelKind, str] = {
    "none": "no labels",
    "class": "one class per image",
    "several": "several labels per image",
    "numbers": "numbers",
}
TAKEN_BY: dict[LabelKind, str] = {"class": "classification", "several": "multilabel", "numbers": "regression"}
"""The task for each kind."""


def refusal(kinds: tuple[LabelKind, ...], kind: LabelKind) -> str | None:
    """Why a task that takes labels of `kinds` (none: of any) cannot be trained on labels of `kind`; None: it can."""
    if not kinds or kind in kinds:
        return None
    instead = f"; the task for them is {TAKEN_BY[kind]}" if kind in TAKEN_BY else ""
    return f"takes data with {' or '.join(WORDS[k] for k in kinds)}, and this data has {WORDS[kind]}{instead}"
