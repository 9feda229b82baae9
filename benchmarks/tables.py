"""Writes what the benchmarks measured into docs/performance.md: each block between `<!-- NAME -->` and `<!-- end -->`
becomes the table of docs/figures/NAME.json or NAME.jsonl, below the machine that it is of where a page has several;
where there is no such file it stays as it is. NAME_float32 is the same benchmark on a machine without bfloat16 units.

    python benchmarks/tables.py [--figures docs/figures] [--page docs/performance.md]
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
PEERS = {
    "diffusers fp32": "diffusers",
    "diffusers bf16, attention fp32": "diffusers bf16",
    "lucidrains fp32": "denoising-diffusion-pytorch",
}


def markdown(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def machine(found: dict[str, Any]) -> str:
    """One line: the processor, the instruction sets in use, threads and torch."""
    of = found["machine"]
    limits = ", ".join(f"{name}={value}" for name, value in of.get("limits", {}).items())
    units = f"held to AVX2 by {limits}" if limits else ", ".join(of["flags"])
    threads = "1 thread" if of["threads"] == 1 else f"{of['threads']} threads"
    return f"{of['processor']} ({units}), {threads}, torch {of['torch']}."


def beside_peers(found: dict[str, Any], columns: dict[str, Callable[[dict[str, Any]], str]]) -> str:
    """The machine, and a row for each of ours and the peers: `columns`, then how many times as fast as each peer."""
    peers = [peer for peer in PEERS if peer in found["rows"]]
    head = ["", *columns, *(f"× {PEERS[peer]}" for peer in peers)]
    rows = (
        [name, *(cell(row) for cell in columns.values()), *(_times_as_fast(row, peer) for peer in peers)]
        for name, row in found["rows"].items()
    )
    return f"{machine(found)}\n\n{markdown(head, rows)}"


def _times_as_fast(row: dict[str, Any], peer: str) -> str:
    return f"{row['times_as_fast_as'][peer]:.1f}" if row["times_as_fast_as"] else ""


def training_step(found: dict[str, Any]) -> str:
    return beside_peers(found, {
        "parameters, M": lambda row: f"{row['parameters_M']:.2f}",
        "GFLOP per image": lambda row: f"{row['gflop_per_image']:.2f}",
        "ms": lambda row: f"{row['median_ms']:.0f}",
    })  # fmt: skip


def sampling(found: dict[str, Any]) -> str:
    return beside_peers(found, {"images/s": lambda row: f"{row['images_per_second']:.1f}"})


def input_path(found: dict[str, Any]) -> str:
    rows = {name: row for name, row in found.items() if "times torchvision" in row}
    head = ["", *next(iter(rows.values()))]
    table = markdown(head, ([name, *(f"{value:,}" for value in row.values())] for name, row in rows.items()))
    table = f"{machine(found)}\n\n{table}"
    shares = found.get("share of a training step", {})
    head = ["recipe", "before a step, ms", "training step, ms", "percent"]
    return f"{table}\n\n{markdown(head, ([name, *row.values()] for name, row in shares.items()))}" if shares else table


def time_to_accuracy(found: dict[str, Any]) -> str:
    head = ["", "seconds, median", f"seconds to {found['target']:g} %", "times ours"]
    seconds, ours = found["median seconds"], found["median seconds"]["ours"]
    return f"{machine(found)}\n\n" + markdown(head, (
        [name, f"{seconds[name]:.0f}", ", ".join(_time(run) for run in runs), _times(seconds[name] / ours, runs)]
        for name, runs in found["rounds"].items()
    ))  # fmt: skip


def _time(run: dict[str, Any]) -> str:
    return f"{run['seconds']:.0f}" if run["arrived"] else f"not in {run['seconds']:.0f}"


def _times(ratio: float, runs: list[dict[str, Any]]) -> str:
    return f"{ratio:.1f}" if sum(run["arrived"] for run in runs) > len(runs) / 2 else f"> {ratio:.1f}"


def startup(found: dict[str, Any]) -> str:
    head = ["of `import torch`", *(f"`{name}`" for name in found["rows"])]
    shares = (f"{row['share']:.3f} (≤ {row['limit']})" for row in found["rows"].values())
    return markdown(head, [[f"{found['import_torch_s']:.2f} s", *shares]])


def few_steps(found: dict[str, Any]) -> str:
    steps = sorted({int(n) for points in found["fid"].values() for n in points})
    table = markdown(["FID at steps", *steps], (
        [name, *(f"{fmean(points[str(n)]):.2f}" if str(n) in points else "" for n in steps)]
        for name, points in found["fid"].items()
    ))  # fmt: skip
    floor = f"{found['floor_n']:,} test images have {found['floor']:.2f}"
    seeds = " and ".join(map(str, found["seeds"]))
    return f"{table}\n\nn = {found['n']:,}, seed {seeds}, features `{found['features']}`; {floor}."


def few_step_methods(found: dict[str, Any]) -> str:
    groups: dict[tuple[int, str, int], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        groups.setdefault((row["n"], row["method"], row["steps"]), []).append(row)
    counts, steps = sorted({n for n, _, _ in groups}), sorted({steps for _, _, steps in groups})
    methods = dict.fromkeys(method for _, method, _ in groups)

    def cell(name: str, *group: Any) -> str:
        values = [row[name] for row in groups.get(group, [])]
        return f"{fmean(values):.{2 if name == 'fid' else 3}f}" if values else ""

    table = markdown(["at steps", "n", *steps], (
        [f"{method}, {name.upper()}", f"{n:,}", *(cell(name, n, method, count) for count in steps)]
        for name in ("fid", "kid") for n in counts for method in methods
    ))  # fmt: skip
    last, seeds = found["rows"][-1], {row["seed"] for row in found["rows"]}
    return f"{table}\n\nSeeds of sampling: {len(seeds)}; features `{last['features']}`."


def quality_in_time(found: dict[str, Any]) -> str:
    def row(name: str, steps: Any, seconds: Any, fid: dict[str, float]) -> list[str]:
        return [name, steps, f"{float(seconds):.0f}", f"{fid['value']:.2f}", f"{fid['low']:.2f} to {fid['high']:.2f}"]

    rows = [row(name, part["steps"], part["seconds"], part["fid"]) for name, part in found["rows"].items()]
    rows += [row("ours, on the way", "", *point) for point in found["rows"].get("ours", {}).get("earlier", {}).items()]
    table = markdown(["", "steps", "seconds", f"FID, n = {found['n']:,}", "95 % interval"], rows)
    return f"{table}\n\nFeatures `{found['features']}`."


TABLES = {
    "training_step": training_step,
    "sampling": sampling,
    "input_path": input_path,
    "time_to_accuracy": time_to_accuracy,
    "startup": startup,
    "few_steps_digits": few_steps,
    "few_steps_fashion_mnist": few_steps,
    "few_step_methods_digits": few_step_methods,
    "quality_in_time": quality_in_time,
}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(page: str, figures: Path) -> str:
    """`page` with every block filled whose figures there are."""
    limited = {f"{name}_float32": table for name, table in TABLES.items()}
    for name, table in (TABLES | limited).items():
        whole, rows = figures / f"{name}.json", figures / f"{name}.jsonl"
        if whole.is_file() or rows.is_file():
            found = json.loads(whole.read_text()) if whole.is_file() else {"rows": _rows(rows)}
            text = f"<!-- {name} -->\n{table(found)}\n<!-- end -->"
            page = re.sub(rf"<!-- {name} -->.*?<!-- end -->", lambda _, text=text: text, page, flags=re.DOTALL)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, default=DOCS / "figures")
    parser.add_argument("--page", type=Path, default=DOCS / "performance.md")
    options = parser.parse_args()
    options.page.write_text(written(options.page.read_text(), options.figures))


if __name__ == "__main__":
    main()
