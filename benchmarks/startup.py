"""CPU time of the light commands against that of `import torch`, each the least of several runs in a fresh process.

    python benchmarks/startup.py [RUNS] [--out FILE.json]

Wanted: `--help` at most 0.05, `list` and `fit --print_config` 0.15, `check`, which imports Lightning, 3.5 of `import
torch`. Exits with status 1 where one takes more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

GENMODS = ["-m", "genmods"]
CASES = {
    "--help": (0.05, [*GENMODS, "--help"]),
    "list": (0.15, [*GENMODS, "list"]),
    "list network": (0.15, [*GENMODS, "list", "network"]),
    "show network unet": (0.15, [*GENMODS, "show", "network", "unet"]),
    "recipes": (0.15, [*GENMODS, "recipes"]),
    "check": (3.5, [*GENMODS, "check", "ddpm"]),
    "fit --print_config": (0.15, [*GENMODS, "fit", "--config", "ddpm", "--print_config"]),
}


def cpu_seconds(arguments: list[str]) -> tuple[float, int]:
    """User and system time of one run of this Python, and its exit status."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, process.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch = min(cpu_seconds(["-c", "import torch"])[0] for _ in range(options.runs))
    print(f"{'import torch':<20} {torch:7.3f} s")
    slow, rows = False, {}
    for name, (limit, arguments) in CASES.items():
        results = [cpu_seconds(arguments) for _ in range(options.runs)]
        seconds, failed = min(results)[0], any(status for _, status in results)
        over = failed or seconds > limit * torch
        slow |= over
        note = "  FAILED" if failed else "  TOO SLOW" if over else ""
        print(f"{name:<20} {seconds:7.3f} s  {seconds / torch:6.3f} of at most {limit}{note}")
        rows[name] = {"share": round(seconds / torch, 3), "limit": limit}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"import_torch_s": round(torch, 3), "rows": rows}, indent=1) + "\n")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
