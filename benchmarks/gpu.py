"""What genmods does on one CUDA device, measured within 8 minutes by one command that needs no network:

    python benchmarks/gpu.py [--out FOLDER] [--minutes 8] [--only SECTION ...]

    peak      matrix products, a convolution and a copy: what the device can do at most
    tests     the tests marked `gpu`
    training  a training step, ours and diffusers', eager and as a CUDA graph, and its share of the peak
    sampling  DDIM in 50 steps, ours and diffusers'
    overhead  what Lightning's Trainer adds to a step of a bare loop
    memory    memory and rate by the size of the batch
    accuracy  Fashion-MNIST: seconds to 94 %, accuracy in 60 s
    quality   FID of a diffusion recipe after 3 minutes of training
    compiled  training step and sampling with torch.compile; gets the time that is left, `--only compiled` gets all

Needs torch >= 2.11, lightning, torchmetrics (with the numpy and PyYAML that they bring) and this checkout, which it
puts on the path itself; what pytest or diffusers is needed for is left out where they are absent. Fashion-MNIST is
taken from GENMODS_DATA or a well-known place; without it synthetic shapes are used, which the rows record.

Each section runs in a separate process, which is ended when its time is up. Each row goes to FOLDER/results.jsonl as
soon as it is there, what a section printed to FOLDER/SECTION.log, and the closing table to FOLDER/table.md; a later run
into the same FOLDER replaces the rows that it measures. Without a CUDA device each row is "not measured"; `--toy`
then tries everything at the size of a test.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

HERE = Path(__file__).resolve().parent
sys.path[:0] = [path for path in (str(HERE), str(HERE.parent / "src")) if path not in sys.path]

from gpu_sections import SECONDS  # noqa: E402
from tables import markdown  # noqa: E402

Line = dict[str, Any]
RESULTS = "results.jsonl"
MARGIN = 5.0
"""Seconds reserved for the table, and the grace period of a section before it is ended."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/gpu"), metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--only", nargs="+", choices=SECONDS, default=list(SECONDS), metavar="SECTION")
    parser.add_argument("--toy", action="store_true", help="every section at the size of a test, on any device")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one device, of however many
    if options.child is not None:
        return child(options)
    end = time.monotonic() + 60 * options.minutes - MARGIN
    with (options.out / RESULTS).open("a", encoding="utf-8") as results:
        for line in lines(options, end):
            text = json.dumps(line, ensure_ascii=False)
            print(text, flush=True)
            print(text, file=results, flush=True)
    text = table((options.out / RESULTS).read_text(encoding="utf-8").splitlines())
    (options.out / "table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}")
    return 0


def lines(options: argparse.Namespace, end: float) -> Iterator[Line]:
    """The machine and each row of each section, as they come."""
    printed = subprocess.run([sys.executable, str(HERE / "common.py")], stdout=subprocess.PIPE, check=True)
    machine = json.loads(printed.stdout)
    yield {"section": "machine", "row": "machine", **machine}
    if machine["device"] == "cpu" and not options.toy:
        yield from section(options, list(options.only), 60.0)  # in one process: it only lists the rows
        return
    for name in options.only:
        left = end - time.monotonic()
        shared = len(options.only) > 1 and not options.toy
        yield from section(options, [name], min(SECONDS[name], left) if shared else left)


def section(options: argparse.Namespace, names: list[str], seconds: float) -> Iterator[Line]:
    """The rows of sections measured by a process that is ended `MARGIN` after `seconds`, and the rows that it left."""
    command = [sys.executable, str(HERE / "gpu.py"), "--out", str(options.out), f"--child={seconds}"]
    command += [*(["--toy"] if options.toy else []), "--only", *names]
    left: dict[tuple[str, str], None] = {(name, "all"): None for name in names}
    log = options.out / f"{names[0]}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8", start_new_session=True
        )
        timer = threading.Timer(max(0.0, seconds) + MARGIN, end_of, [process])
        timer.start()
        try:
            assert process.stdout
            for line in map(json.loads, process.stdout):
                if "rows" in line:
                    del left[line["section"], "all"]
                    left |= {(line["section"], row): None for row in line["rows"]}
                else:
                    left.pop((line["section"], line["row"]), None)
                    yield line
            status = process.wait()
        finally:
            timer.cancel()
            if process.poll() is None:  # interrupted here
                end_of(process)
    said = log.read_text(errors="replace").split("\n")
    last = next((line for line in reversed(said) if line.strip()), "")
    reason = "no time left" if status == -signal.SIGKILL else f"status {status}: {last[:160]}"
    yield from ({"section": name, "row": row, "not measured": reason} for name, row in left)


def end_of(process: subprocess.Popen) -> None:
    """Kill a section and the processes that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def child(options: argparse.Namespace) -> int:
    """Measure sections here: their lines go to stdout, whatever else is printed to stderr."""
    out: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import torch
    from gpu_sections.job import Job, measure

    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    for name in options.only:
        job = Job(options.out, options.toy, options.child)
        measure(name, job, lambda line: print(json.dumps(line, ensure_ascii=False), file=out, flush=True))
    return 0


def table(results: Iterable[str]) -> str:
    """The last line of each row, as one Markdown table per section."""
    rows = {(line["section"], line["row"]): line for line in map(json.loads, results)}
    machine = rows.pop(("machine", "machine"))
    sections: dict[str, list[Line]] = {}
    for (name, _), line in rows.items():
        sections.setdefault(name, []).append(line)
    parts = [f"{machine['device']}, {machine['processor']}, torch {machine['torch']}"]
    for name, found in sections.items():
        heads = list(dict.fromkeys(key for line in found for key in figures(line))) or [""]
        parts.append(markdown([name, *heads], ([line["row"], *cells(line, heads)] for line in found)))
    return "\n\n".join(parts) + "\n"


def figures(line: Line) -> Line:
    return {key: value for key, value in line.items() if key not in ("section", "row", "not measured")}


def cells(line: Line, heads: list[str]) -> list[Any]:
    """The figures of a row under `heads`, or why there are none."""
    if "not measured" in line:
        return [f"not measured: {line['not measured']}", *[""] * (len(heads) - 1)]
    return [line.get(head, "") for head in heads]


if __name__ == "__main__":
    sys.exit(main())
