"""Timing that holds on a shared machine: the candidates take turns within one run, and medians are compared."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def alternate(candidates: dict[str, Callable[[], object]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of each call, by name, in turns A B ... A B ...; the first `warm_up` rounds do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for index in range(warm_up + rounds):
        for name, call in candidates.items():
            synchronise()
            start = time.perf_counter()
            call()
            synchronise()
            if index >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def bare_trainer(settings: dict[str, Any], callback: Any) -> Any:
    """A Trainer with a recipe's `settings` that trains and does nothing beside it but what `callback` does."""
    from lightning.pytorch import Trainer

    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "use_distributed_sampler")
    silent = {**settings, **dict.fromkeys(off, False), "num_sanity_val_steps": 0, "limit_val_batches": 0}
    return Trainer(**silent, callbacks=[callback])


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, quickest and slowest, in milliseconds."""
    return {
        "median_ms": round(1e3 * statistics.median(seconds), 2),
        "min_ms": round(1e3 * min(seconds), 2),
        "max_ms": round(1e3 * max(seconds), 2),
    }


def ratio(slower: list[float], faster: list[float]) -> float:
    """How many times faster, as the median over the rounds of one run."""
    return round(statistics.median(s / f for s, f in zip(slower, faster, strict=True)), 3)


def machine() -> dict[str, Any]:
    """What ran the benchmark: processor, threads, load, versions, and the graphics processor where there is one."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    flags: list[str] = []
    if cpuinfo.exists():
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        fields = {key.strip(): value.strip() for key, _, value in lines}
        model = fields.get("model name", model)
        flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in fields.get("flags", "").split()]
    return {
        "processor": model,
        "flags": flags,
        "threads": torch.get_num_threads(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def report(result: dict[str, Any], out: Path | None) -> None:
    """Print `result` with the machine's description as JSON, and write it to `out`."""
    text = json.dumps({"machine": machine(), **result}, indent=1)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
