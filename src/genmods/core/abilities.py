"""Members of models and tasks that callbacks require, in words; nothing heavy is imported."""

from __future__ import annotations

WORDS = {
    "diffusion_model": "a diffusion model of independent noise",
    "monitor": "a task with a metric to monitor, or a `monitor`",
    "noise_errors": "a task with errors per noise level",
    "probabilities": "a classifier",
    "sample": "a generative model",
}


def requirement(ability: str) -> str:
    """What a callback that requires the member `ability` needs, in words."""
    return f"requires {WORDS.get(ability, f'a model with `{ability}`')}"
