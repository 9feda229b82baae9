"""The model card of an exported folder: `README.md` with the facts of the training, none of which is invented."""

from __future__ import annotations

import json
import re
from typing import Any

from genmods import __version__
from genmods.config.text import write
from genmods.core.printable import printable
from genmods.models import Classifies, Generates, Predicts, Restores, model_of
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.facts import Facts

PICTURE = "samples.png"
_USES = (
    (Generates, "images = model.sample(16)  # {shape}, in [-1, 1]", "unconditional-image-generation"),
    (Classifies, 'model.classify("image.png")  # class, probability, all probabilities', "image-classification"),
    (Predicts, "numbers = model.predictions(images)  # images {shape} in [-1, 1]", "image-classification"),
    (Restores, "clean = model.restored(images)  # images {shape} in [-1, 1]", "image-to-image"),
)
"""Ability, a line that uses it, and the hub's name of such a task."""


def card(checkpoint: Checkpoint, facts: Facts, where: str, license: str = "unknown", raw: bool = False) -> str:
    """The model card of a checkpoint as Markdown.

    Args:
        checkpoint: The checkpoint that is exported.
        facts: What is known of its training.
        where: The argument of `genmods.load` in the example.
        licence: Identifier of the licence of the weights, as the hub names licences.
        raw: Whether the raw weights are exported instead of the averaged ones.
    """
    model = model_of(checkpoint.model(raw))
    use, task = next(((line, task) for ability, line, task in _USES if isinstance(model, ability)), ("model", None))
    shape = [16 if isinstance(model, Generates) else "B", *(model.image_shape or checkpoint.data_info.shape)]
    front = {"license": license, "library_name": "genmods", "tags": ["genmods", checkpoint.recipe["task"]["name"]]}
    front |= {"pipeline_tag": task} if task else {}
    recipe = write(checkpoint.recipe)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", recipe)), default=0))
    parts = [
        f"---\n{write(front)}---",
        f"# {escaped(checkpoint.recipe['name'])}",
        f"{escaped(repr(model))}. Exported by genmods {__version__}.",
        f"![Samples]({PICTURE})" if facts.picture else "",
        "## Use\n```python\nimport genmods\n"
        f"model = genmods.load({_quoted(where)})\n{use.format(shape=_listed(shape))}\n```",
        "## Figures\n" + _figures(facts),
        "## Training\n" + _table(_training(checkpoint, facts, raw)),
        f"## Recipe\n{fence}yaml\n{recipe}{fence}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(printable(text).replace("`", ""), ensure_ascii=False)


def _listed(shape: list[Any]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _figures(facts: Facts) -> str:
    if not facts.figures:
        return "None is recorded with the exported checkpoint."
    rows = ["| figure | value | computed from |", "|---|---|---|"]
    rows += [f"| {escaped(name)} | {value:.5g} | {escaped(on)} |" for name, value, on in facts.figures]
    return "\n".join(rows)


def _table(rows: dict[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {escaped(text)} |" for name, text in rows.items() if text)])


def _training(checkpoint: Checkpoint, facts: Facts, raw: bool) -> dict[str, str]:
    info, environment = checkpoint.data_info, facts.environment
    counts = checkpoint.split_sizes
    sizes = ", ".join(f"{name} {counts[name]:,}" for name in ("train", "val", "test") if name in counts)
    shape = " x ".join(map(str, info.shape))
    averaged = bool(checkpoint.averages) and not raw
    seconds = facts.timing.get("train_seconds")
    return {
        "task": checkpoint.recipe["task"]["name"],
        "data": checkpoint.recipe["data"]["name"],
        "samples": f"{sizes + '; ' if sizes else ''}shape {shape}, {info.levels} levels",
        "data hash": checkpoint.data_hash or "",
        "classes": ", ".join(info.class_names),
        "weights": f"{'averaged (EMA)' if averaged else 'raw'}, after step {checkpoint.step:,}",
        "precision": checkpoint.precision or "",
        "time": "" if seconds is None else f"{seconds:.4g} seconds of training, {facts.timing.get('steps')} steps",
        "machine": _machine(environment.get("hardware")),
        "code": _code(environment.get("git"), environment.get("packages")),
    }


def _machine(hardware: Any) -> str:
    if not isinstance(hardware, dict):
        return ""
    devices = hardware.get("devices")
    named = ", ".join(map(str, devices)) if isinstance(devices, list) else ""
    return f"{named or 'CPU'}; {hardware.get('machine')}, {hardware.get('cores')} cores, {hardware.get('system')}"


def _code(git: Any, packages: Any) -> str:
    parts = []
    for name, state in git.items() if isinstance(git, dict) else ():
        if isinstance(state, dict) and state.get("commit"):
            parts.append(
                f"git of {name} {state['commit']}{' with uncommitted changes' if state.get('changed') else ''}"
            )
    if isinstance(packages, dict):
        parts += [f"{name} {version}" for name, version in packages.items()]
    return "; ".join(parts)


def escaped(text: object) -> str:
    """`text` as one line of Markdown in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~$])", r"\\\1", printable(text))
