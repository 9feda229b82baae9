"""Reads a run folder, its curves, pictures, tables and settings, without Lightning or W&B.

All files except one of `metrics.csv` and `recipe.yaml` may be missing; running and killed runs can be read, too. The
folder is not trusted: see `report.sidecars`.
"""

from __future__ import annotations

import base64
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genmods.config import text
from genmods.core.errors import UserError
from genmods.core.printable import say
from genmods.report.sidecars import read_inside, read_sidecars
from genmods.tracking.names import PICTURES, direction
from genmods.tracking.series import parse_series

Series = dict[str, list[tuple[int, float]]]

RUN_FILES = ("metrics.csv", "recipe.yaml")
MAX_POINTS = 1200
MAX_PICTURES = 24
MAX_PICTURE_BYTES = 20_000_000
MAX_METRICS_BYTES = 1_000_000_000


@dataclass
class RunFolder:
    """A run as plain data."""

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
        """The recipe as flat `section.key: value` pairs; empty if it is invalid."""
        try:
            return flatten(text.plain(text.parse(self.recipe_text, "recipe.yaml")))
        except UserError:
            return {}

    @property
    def steps(self) -> int:
        """The number of training steps, or, during training, the last step in the metrics."""
        trained = (self.files.get("timing") or {}).get("steps", 0)
        return trained or max((points[-1][0] for points in self.series.values()), default=-1) + 1

    def figures(self) -> list[dict[str, Any]]:
        """The main metrics: best and last value of each validation and test metric, sorted by importance."""
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
    """The run in the folder `path`; raises UserError if it is not a run folder or its metrics cannot be read."""
    recipe = read_inside(path, path / "recipe.yaml", text.MAX_BYTES)
    metrics = read_inside(path, path / "metrics.csv", MAX_METRICS_BYTES)
    if metrics is None and recipe is None:
        raise UserError(f"{path}: not a run folder, it has neither metrics.csv nor recipe.yaml")
    series = parse_series(metrics or b"", path / "metrics.csv")
    return RunFolder(path, (recipe or b"").decode(errors="replace"), series, read_sidecars(path))


def newest_run(path: Path) -> Path:
    """The run folder `path`, or the newest run in a folder of runs such as runs/ddpm; `path` if there is none."""
    if any((path / name).is_file() for name in RUN_FILES):
        return path
    files = [file for name in RUN_FILES for file in path.glob(f"*/{name}")]
    return max(files, key=lambda file: file.stat().st_mtime_ns).parent if files else path


def find_runs(root: Path) -> list[RunFolder]:
    """All runs below `root`, including itself, sorted by path, oldest first; unreadable ones are reported on stderr."""
    folders = {path.parent for name in RUN_FILES for path in root.rglob(name)}
    found = []
    for folder in sorted(folders):
        try:
            found.append(read_run(folder))
        except UserError as error:
            say(f"skipped: {error}", file=sys.stderr)
    return found


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Flatten a nested recipe to `a.b.0.c: text` pairs."""
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = [(str(index), item) for index, item in enumerate(value)]
    else:
        return {prefix: "" if value is None else str(value)}
    return {k: v for key, item in items for k, v in flatten(item, f"{prefix}.{key}" if prefix else key).items()}


def differences(runs: list[RunFolder]) -> list[tuple[str, list[str]]]:
    """The settings in which recipes differ, with the value of each run; "–" if a run does not set it."""
    settings = [run.settings for run in runs]
    keys = dict.fromkeys(key for flat in settings for key in flat)
    rows = [(key, [flat.get(key, "–") for flat in settings]) for key in keys]
    return [row for row in rows if len(set(row[1])) > 1]


def thin(points: list[tuple[int, float]], most: int = MAX_POINTS) -> list[tuple[int, float]]:
    """Reduce a curve to about `most` points, keeping the minimum and the maximum of each segment."""
    if len(points) <= most:
        return points
    size = -(-len(points) // (most // 2))
    kept = set()
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        kept |= {min(stretch, key=lambda i: points[i][1]), max(stretch, key=lambda i: points[i][1])}
    return [points[i] for i in sorted(kept | {0, len(points) - 1})]


def pictures(path: Path) -> list[dict[str, Any]]:
    """The picture series of a run: name, description, and up to `MAX_PICTURES` steps with their PNG as a data URI."""
    series: dict[str, list[tuple[int, Path]]] = {}
    for file in sorted((path / "samples").glob("*.png")):
        if match := re.fullmatch(r"(.+)_([0-9]{1,15})\.png", file.name):
            name = "grid" if match[1] == "step" else match[1]
            series.setdefault(name, []).append((int(match[2]), file))
    order = [name.split("/")[1] for name in PICTURES]
    found = []
    for name in sorted(series, key=lambda n: order.index(n) if n in order else len(order)):
        files = sorted(series[name])
        chosen = {round(i * (len(files) - 1) / max(1, MAX_PICTURES - 1)) for i in range(MAX_PICTURES)} & set(
            range(len(files))
        )
        read = [(files[i][0], _data_uri(path, files[i][1])) for i in sorted(chosen)]
        steps = [{"step": step, "source": source} for step, source in read if source]
        if not steps:
            continue
        found.append({"name": name, "about": PICTURES.get(f"samples/{name}", "").replace("`", ""), "steps": steps})
    return found


def _data_uri(folder: Path, path: Path) -> str | None:
    """A PNG file in the run folder as a data URI; None for any other file."""
    content = read_inside(folder, path, MAX_PICTURE_BYTES) or b""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    return "data:image/png;base64," + base64.b64encode(content).decode()
