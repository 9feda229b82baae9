"""Hints with limits for settings of other libraries' classes, replacing those in their source."""

from __future__ import annotations

import ast
from functools import cache

from genmods.config.reflect import Setting, find_module

_HINTS: dict[str, dict[str, str]] = {
    "torch.optim.": {
        "lr": "NonNegative",
        "weight_decay": "NonNegative",
        "eps": "NonNegative",
        "betas": "tuple[Rate, Rate]",
        "alpha": "Rate",
        "momentum": "NonNegative",
        "dampening": "float",
    },
    "lightning.pytorch.trainer.": {
        "max_steps": "Annotated[int, Ge(-1)]",
        "max_epochs": "Annotated[int, Ge(-1)] | None",
        "min_steps": "Annotated[int, Ge(0)] | None",
        "min_epochs": "Annotated[int, Ge(0)] | None",
        "num_nodes": "Count",
        "log_every_n_steps": "Annotated[int, Ge(1)] | None",
        "accumulate_grad_batches": "Count",
        "num_sanity_val_steps": "Annotated[int, Ge(-1)] | None",
        "gradient_clip_val": "Annotated[int, Ge(0)] | NonNegative | None",
        "limit_train_batches": "Annotated[int, Ge(0)] | Fraction | None",
        "limit_val_batches": "Annotated[int, Ge(0)] | Fraction | None",
        "limit_test_batches": "Annotated[int, Ge(0)] | Fraction | None",
        "limit_predict_batches": "Annotated[int, Ge(0)] | Fraction | None",
        "overfit_batches": "Annotated[int, Ge(0)] | Fraction",
    },
}
"""Hints by prefix of the class's module and by setting, with the names of `genmods.core.settings`."""


def declared(target: str, known: dict[str, Setting]) -> dict[str, Setting]:
    """The settings of the class "module:Class", with these hints if there are any for it."""
    texts = next((texts for start, texts in _HINTS.items() if target.startswith(start)), {})
    return {name: _restated(setting, texts[name]) if name in texts else setting for name, setting in known.items()}


@cache
def _restated(setting: Setting, text: str) -> Setting:
    module = find_module("genmods.core.settings")
    assert module is not None
    return setting._replace(hint=ast.parse(text, mode="eval").body, module=module)
