"""What a section of `gpu.py` is given, and how its rows are measured one after the other."""

from __future__ import annotations

import gc
import json
import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from common import synchronise

Figures = dict[str, Any]
Size = TypeVar("Size")
RESULTS = "results.jsonl"


class NotMeasured(Exception):
    """Why a row cannot be measured on this machine."""


@dataclass
class Job:
    """One section's conditions: `folder` has the results so far, `toy` is a size for tests, `seconds` may be spent."""

    folder: Path
    toy: bool = False
    seconds: float = 60.0
    started: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"

    def left(self) -> float:
        """Seconds until the section has to end."""
        return self.seconds - (time.monotonic() - self.started)

    def size(self, full: Size, toy: Size) -> Size:
        return toy if self.toy else full

    @cached_property
    def figures(self) -> dict[tuple[str, str], Figures]:
        """The rows so far, by section and name, those of earlier sections from the file."""
        path = self.folder / RESULTS
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return {(line["section"], line["row"]): line for line in lines}

    def figure(self, section: str, row: str, name: str) -> Any:
        """One figure of a row; None where it was not measured."""
        return self.figures.get((section, row), {}).get(name)

    def share_of_peak(self, tflops: float) -> Figures:
        """TFLOP/s and what part of the measured bfloat16 matrix peak that is."""
        peak = self.figure("peak", "bf16 matmul", "TFLOP/s")
        return {"TFLOP/s": round(tflops, 2)} | ({"share of peak": round(tflops / peak, 3)} if peak else {})

    def seconds_of(self, call: Callable[[], object], calls: int = 10, rounds: int = 5, warm_up: int = 3) -> float:
        """Seconds of one call, the median over rounds of several calls in a row that wait for the device once."""
        for _ in range(self.size(warm_up, 1)):
            call()
        found = []
        for _ in range(self.size(rounds, 1)):
            synchronise()
            start = time.perf_counter()
            for _ in range(self.size(calls, 1)):
                call()
            synchronise()
            found.append((time.perf_counter() - start) / self.size(calls, 1))
        return statistics.median(found)


def measure(section: str, job: Job, emit: Callable[[dict[str, Any]], None]) -> None:
    """Emit the names of a section's rows, then each row; a row that fails leaves the others alone."""
    rows = import_module(f"gpu_sections.{section}").rows(job)
    emit({"section": section, "rows": list(rows)})
    for row, call in rows.items():
        line = {"section": section, "row": row, **figures_of(call, job)}
        job.figures[section, row] = line
        emit(line)


def figures_of(call: Callable[[], Figures], job: Job) -> Figures:
    """A row's figures, or under "not measured" the reason why there are none."""
    if job.device == "cpu" and not job.toy:
        return {"not measured": "no GPU"}
    if job.left() <= 0:
        return {"not measured": "no time left"}
    gc.collect()
    torch.cuda.empty_cache()
    try:
        return call()
    except NotMeasured as reason:
        return {"not measured": str(reason)}
    except Exception as error:
        traceback.print_exc()
        return {"not measured": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
