"""Runs the benchmarks that need no trained checkpoint, one after the other, and writes JSON and tables.

The JSON goes to docs/figures, as NAME.json or, from a device without native bfloat16, NAME_float32.json; the tables to
docs/performance.md. The others (few_steps, quality_in_time, recognised, restoration) take the runs to evaluate as
arguments; `python benchmarks/tables.py` writes their tables.

    python benchmarks/run.py [training_step sampling input_path time_to_accuracy startup logging_cost]
"""

import argparse
import subprocess
import sys
from pathlib import Path

from genmods.core.devices import default_device
from genmods.core.precision import native_bfloat16

HERE = Path(__file__).parent
NAMES = ("training_step", "sampling", "input_path", "time_to_accuracy", "startup", "logging_cost")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(NAMES)}; all without one")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark called {', '.join(sorted(unknown))}; there is {', '.join(NAMES)}")
    suffix = "" if native_bfloat16(default_device()) else "_float32"
    status = 0
    for name in options.names or NAMES:
        out = HERE.parent / "docs" / "figures" / f"{name}{suffix}.json"
        status |= subprocess.run([sys.executable, str(HERE / f"{name}.py"), "--out", str(out)]).returncode
    return status | subprocess.run([sys.executable, str(HERE / "tables.py")]).returncode


if __name__ == "__main__":
    sys.exit(main())
