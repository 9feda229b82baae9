"""What a run folder says: its curves, pictures, tables and settings, read without Lightning or W&B.

Everything but `metrics.csv` or `recipe.yaml` may be missing; a run that is still going, or was killed, reads as well.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genmods.core.errors import UserError
from genmods.tracking.names import PICTURES, direction
from genmods.tracking.series import read_series

Series = dict[str, list[tuple[int, float]]]

MAX_POINTS = 1200
MAX_PICTURES = 24


@dataclass
class RunFolder:
    """One run, as plain data."""

    path: Path
    recipe_text: str = ""
    series: Series = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The last two parts of the path: recipe and time."""
        return "/".join(self.path.resolve().parts[-2:])

    @property
    def settings(self) -> dict[str, str]:
        """The recipe as flat `section.key: value` pairs."""
        return flatten(yaml.safe_load(self.recipe_text) or {})

    @property
    def steps(self) -> int:
        """How many steps were trained, or the metrics reach where the training goes on."""
        trained = (self.files.get("timing") or {}).get("steps", 0)
        return trained or max((points[-1][0] for points in self.series.values()), default=-1) + 1

    def figures(self) -> list[dict[str, Any]]:
        """The main figures: best and last of each validation and test metric, best first by kind."""
        names = [name for name in self.series if name.split("/")[0] in ("val", "test") and direction(name) != "last"]
        return [self._figure(name) for name in sorted(names, key=_rank)]

    def _figure(self, name: str) -> dict[str, Any]:
        points = self.series[name]
        better = min if direction(name) == "min" else max
        step, value = better(points, key=lambda point: point[1])
        return {"name": name, "best": value, "step": step + 1, "last": points[-1][1], "points": thin(points, 60)}


def _rank(name: str) -> tuple[int, str]:
    figure = name.split("/", 1)[-1]
    order = ("fid", "acc", "bpd", "psnr", "kid", "loss")
    return next((i for i, start in enumerate(order) if figure == start or figure.startswith(start + "_")), 9), name


def read_run(path: Path) -> RunFolder:
    """The run in the folder `path`; raises UserError where it is none."""
    metrics, recipe = path / "metrics.csv", path / "recipe.yaml"
    if not metrics.is_file() and not recipe.is_file():
        raise UserError(f"{path}: this is no run folder, it holds neither metrics.csv nor recipe.yaml")
    text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    return RunFolder(path, text, read_series(metrics), {file.stem: _read_json(file) for file in path.glob("*.json")})


def find_runs(root: Path) -> list[RunFolder]:
    """All runs under `root`, itself included, oldest first by path."""
    found = {path.parent for name in ("metrics.csv", "recipe.yaml") for path in root.rglob(name)}
    return [read_run(path) for path in sorted(found)]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=str)  # a figure may be "NaN"
    except (OSError, ValueError):
        return None


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """A nested recipe as `a.b.0.c: text` pairs."""
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {prefix: "" if value is None else str(value)}
    return {k: v for key, item in items for k, v in flatten(item, f"{prefix}.{key}" if prefix else key).items()}


def differences(runs: list[RunFolder]) -> list[tuple[str, list[str]]]:
    """The settings in which recipes differ, with the value of each run; "–" where a run leaves one open."""
    settings = [run.settings for run in runs]
    keys = dict.fromkeys(key for flat in settings for key in flat)
    rows = [(key, [flat.get(key, "–") for flat in settings]) for key in keys]
    return [row for row in rows if len(set(row[1])) > 1]


def thin(points: list[tuple[int, float]], most: int = MAX_POINTS) -> list[tuple[int, float]]:
    """At most about `most` points that keep the extremes: the lowest and the highest of each stretch."""
    if len(points) <= most:
        return points
    size = -(-len(points) // (most // 2))
    kept = set()
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        kept |= {min(stretch, key=lambda i: points[i][1]), max(stretch, key=lambda i: points[i][1])}
    return [points[i] for i in sorted(kept | {0, len(points) - 1})]


def pictures(path: Path) -> list[dict[str, Any]]:
    """The picture series of a run: name, what it shows, and up to `MAX_PICTURES` steps with their PNG as a data URI."""
    series: dict[str, list[tuple[int, Path]]] = {}
    for file in sorted((path / "samples").glob("*.png")):
        if match := re.fullmatch(r"(.+)_(\d+)\.png", file.name):
            name = "grid" if match[1] == "step" else match[1]
            series.setdefault(name, []).append((int(match[2]), file))
    order = [name.split("/")[1] for name in PICTURES]
    found = []
    for name in sorted(series, key=lambda n: order.index(n) if n in order else len(order)):
        files = sorted(series[name])
        chosen = {round(i * (len(files) - 1) / max(1, MAX_PICTURES - 1)) for i in range(MAX_PICTURES)} & set(
            range(len(files))
        )
        steps = [{"step": files[i][0], "source": _data_uri(files[i][1])} for i in sorted(chosen)]
        found.append({"name": name, "about": PICTURES.get(f"samples/{name}", "").replace("`", ""), "steps": steps})
    return found


def _data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
