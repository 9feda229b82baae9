"""The report page: an HTML template filled with the data of one or several runs.

Text is inserted only by the template, which escapes it. The page's content-security policy allows only its own script
and no network requests.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.core.atomic import replacing
from genmods.core.printable import counted, printable
from genmods.report.folder import RunFolder, differences, pictures, read_run, thin
from genmods.report.seeds import Seeds, by_seed
from genmods.tracking.names import METRICS, documented

if TYPE_CHECKING:
    from jinja2 import Template

_POLICY = (
    "default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def run_data(run: RunFolder) -> dict[str, Any]:
    """The data that the page shows of a run."""
    return {
        "name": run.name,
        "steps": run.steps,
        "figures": run.figures(),
        "series": {name: thin(points) for name, points in run.series.items()},
        "pictures": pictures(run.path),
        "recipe": run.recipe_text,
        "settings": run.settings,
        "confusion": run.files.get("confusion"),
        "noise": run.files.get("loss_by_noise"),
        "evaluation": evaluations(run),
        "environment": run.files.get("environment"),
        "timing": run.files.get("timing"),
    }


def evaluations(run: RunFolder) -> list[dict[str, Any]]:
    """The metrics of later evaluations: those of `evaluate`, and of Lightning's `test` and `validate`."""
    found = list((run.files.get("evaluation") or {}).get("figures", []))
    for stage in ("test", "validate"):
        figures = (run.files.get(stage) or {}).get("figures", {})
        found += [{"name": name, "value": value} for name, value in figures.items()]
    return found


def seed_table(group: Seeds) -> dict[str, Any]:
    """The table of runs that differ in their seed only: its title, and rows of metric, last and best value."""
    best = {spread.name: str(spread) for spread in group.spreads("best")}
    rows = [[spread.name, str(spread), best[spread.name]] for spread in group.spreads("last")]
    return {"title": f"{group.name}, seeds {', '.join(group.seeds)}", "rows": rows}


def render(runs: list[RunFolder]) -> str:
    """The page as HTML."""
    data: dict[str, Any] = {"runs": [run_data(run) for run in runs]}
    data["differences"] = differences(runs) if len(runs) > 1 else []
    data["seeds"] = [seed_table(group) for group in by_seed(runs)]
    data["about"] = meanings({name for run in runs for name in run.series})
    title = runs[0].name if len(runs) == 1 else counted(len(runs), "run")
    return _template().render(title=printable(title), data=data)


@cache
def _template() -> Template:
    """The template with the page's script and style, for `render(title=..., data=...)`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    script, style = ((files("genmods.report") / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=PackageLoader("genmods.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment.get_template(
        "template.html", globals={"script": script, "style": style, "policy": _POLICY.format(digest=digest)}
    )


def meanings(names: set[str]) -> dict[str, str]:
    """The description of each chart by metric, if it is the same in all stages."""
    found: dict[str, set[str]] = {}
    for name in names:
        found.setdefault(name.split("/", 1)[-1], set()).add(METRICS.get(documented(name), "").replace("`", ""))
    return {figure: texts.pop() for figure, texts in found.items() if len(texts) == 1}


def write_report(folders: list[Path], out: Path | None = None) -> Path:
    """Write the report of one run, or the comparison of several, and return its path.

    By default that is `report.html` in the run folder, or `comparison.html` in the first one. Raises UserError if a
    folder is not a run folder.
    """
    out = out or folders[0] / ("report.html" if len(folders) == 1 else "comparison.html")
    text = render([read_run(folder) for folder in folders])
    with replacing(out) as staged:
        staged.write_text(text, encoding="utf-8")
    return out
