"""Timing that holds on a shared machine: the candidates take turns within one run, and medians are compared.

`python benchmarks/common.py` prints the machine, as it is in each benchmark's JSON.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8")
LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS")
"""Environment variables that keep the CPU libraries from instruction sets which the processor has."""
PACKAGES = ("lightning", "diffusers", "timm")


def alternate(candidates: dict[str, Callable[[], object]], rounds: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of each call, by name, in turns A B ... A B ...; the first `warm_up` rounds do not count.

    One CPU thread is timed by its processor time, which other work on the machine hardly changes.
    """
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = time.process_time if alone else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for index in range(warm_up + rounds):
        for name, call in candidates.items():
            synchronise()
            start = clock()
            call()
            synchronise()
            if index >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


def faster_format(build: Callable[[torch.memory_format], Any], call: Callable[[Any], object]) -> Any:
    """What `build` makes in the memory format, contiguous or channels-last, in which `call` of it is faster."""
    made = {str(layout).split(".")[-1]: build(layout) for layout in (torch.contiguous_format, torch.channels_last)}
    seconds = alternate({name: lambda peer=peer: call(peer) for name, peer in made.items()}, rounds=3, warm_up=1)
    best = min(made, key=lambda name: statistics.median(seconds[name]))
    print(", ".join(f"{name} {statistics.median(times):.3f} s" for name, times in seconds.items()), flush=True)
    return made[best]


def bare_trainer(task: Any, settings: dict[str, Any], *callbacks: Any) -> Any:
    """A Trainer with a recipe's `settings` that trains `task` and does nothing beside it but what `callbacks` do."""
    from lightning.pytorch import Trainer

    from genmods.callbacks.precision import settle, unsettled

    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "use_distributed_sampler")
    silent = {**settings, **dict.fromkeys(off, False), "num_sanity_val_steps": 0, "limit_val_batches": 0}
    trainer = Trainer(**silent | {"precision": unsettled(settings["precision"])}, callbacks=list(callbacks))
    settle(trainer, task, settings["precision"], None, quiet=True)
    return trainer


def in_bfloat16(network: torch.nn.Module) -> None:
    """Lets `network` compute in bfloat16 under autocast from now on."""
    network.forward = torch.autocast("cpu", torch.bfloat16)(network.forward)


def gflop_per_image(call: Callable[[], object], images: int) -> float:
    """GFLOP of `call`, such as a loss and its gradients, per image of the batch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        call()
    return round(counter.get_total_flops() / images / 1e9, 3)


def layout(device: str) -> torch.memory_format:
    """The memory format of convolutions on `device`: channels-last on a GPU, whose matrix units want it."""
    return torch.channels_last if device == "cuda" else torch.contiguous_format


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


def times_as_fast_as(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """For each row of ours, whose name begins so, the ratio to each peer; nothing for the peers."""
    peers = [name for name in seconds if not name.startswith("ours")]
    return {
        name: {} if name in peers else {peer: ratio(seconds[peer], times) for peer in peers}
        for name, times in seconds.items()
    }


def machine() -> dict[str, Any]:
    """Processor, instruction sets and their limits, threads, load, versions, and the GPU if any."""
    return {
        **processor(),
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: metadata.version(name) for name in PACKAGES if find_spec(name)},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        **gpu(),
    }


def processor() -> dict[str, Any]:
    """The processor's name, the instruction sets of `FLAGS` that it has, and the cores that this process may use."""
    name, flags = platform.processor() or platform.machine(), set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        fields = {key.strip(): value.strip() for key, _, value in lines}
        name, flags = fields.get("model name", name), set(fields.get("flags", "").split())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": name, "flags": [flag for flag in FLAGS if flag in flags], "cores": cores}


def gpu() -> dict[str, Any]:
    """What a CUDA device is; empty without one."""
    if not torch.cuda.is_available():
        return {}
    found = torch.cuda.get_device_properties(0)
    return {
        "gpu": {
            "compute_capability": f"{found.major}.{found.minor}",
            "multiprocessors": found.multi_processor_count,
            "memory_GiB": round(found.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    }


def report(result: dict[str, Any], out: Path | None) -> None:
    """Print `result` with the machine's description as JSON, and write it to `out`."""
    text = json.dumps({"machine": machine(), **result}, indent=1)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")


if __name__ == "__main__":
    print(json.dumps(machine(), indent=1))
