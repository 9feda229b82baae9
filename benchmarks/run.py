"""Runs the benchmarks that need no trained checkpoint, one after the other, and keeps their JSON.

python benchmarks/run.py [training_step sampling input_path startup logging_cost] [--out docs/figures]
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("training_step", "sampling", "input_path", "startup", "logging_cost")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(NAMES)}; all without one")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="the folder for the JSON files")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark called {', '.join(sorted(unknown))}; there is {', '.join(NAMES)}")
    options.out.mkdir(parents=True, exist_ok=True)
    status = 0
    for name in options.names or NAMES:
        extra = [] if name == "startup" else ["--out", str(options.out / f"{name}.json")]
        status |= subprocess.run([sys.executable, str(HERE / f"{name}.py"), *extra]).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
