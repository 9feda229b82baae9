"""The harness of the attacks in tests/torture: seeded cases, commands in forked processes, results that add up.

Case k of a row depends on (row, seed, k) alone. Its result is one line of `$GENMODS_TORTURE`, by default
`torture.jsonl`; a case that is there already is not tried again, so that a session that was stopped goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeVar

SEED = 20261128
ASKED = {
    "kills": 200,
    "stop_points": 500,
    "signals": 100,
    "corrupt_checkpoints": 1000,
    "corrupt_exports": 300,
    "hostile_files": 150,
    "hostile_folders": 30,
    "recipes": 10_000,
    "checked": 150,
    "command_lines": 3000,
    "bad_images": 500,
    "not_finite": 100,
    "disks": 50,
    "scenes": 30,
    "plugins": 46,
    "skew": 100,
    "pairs": 30,
    "ranks": 12,
    "memory": 8,
}
"""How many cases each row asks for: the closing table."""
T = TypeVar("T")


class Chance(random.Random):
    """The random numbers of a case: they depend on row, seed and case alone."""

    def __new__(cls, row: str, seed: int, case: int) -> Chance:
        return super().__new__(cls)

    def __init__(self, row: str, seed: int, case: int) -> None:
        super().__init__(f"{row} {seed} {case}")
        self.row, self.number, self.case = row, seed, case

    def deal(self, kinds: Iterable[T]) -> T:
        """The kind of this case: any n consecutive cases from a multiple of n have each of n kinds once."""
        cards: Sequence[T] = list(kinds)
        turn, place = divmod(self.case, len(cards))
        return random.Random(f"{self.row} {self.number} turn {turn}").sample(cards, len(cards))[place]


Attack = Callable[[Chance, Path], str]
"""(random numbers, an empty folder) -> what went wrong; "" if nothing did."""


def results() -> Path:
    """The file of all results."""
    return Path(os.environ.get("GENMODS_TORTURE") or "torture.jsonl").absolute()


def known() -> dict[tuple[str, int, int], str]:
    """The results so far by row, seed and case."""
    lines = results().read_text().splitlines() if results().is_file() else []
    return {(line["row"], line["seed"], line["case"]): line["fault"] for line in map(json.loads, lines)}


def main(*rows: str) -> int:
    """Try cases of each row until as many as it asks for have been tried, or its time is over; status 1 if any failed.

    A row is the script of that name in tests/torture, whose `attack` it tries.
    """
    parser = argparse.ArgumentParser(description="Attacks; without names of rows, all of them.")
    if not rows:
        parser.add_argument("rows", nargs="*", default=list(ASKED), metavar="ROW", help=", ".join(ASKED))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--cases", type=int, help="how many, with those of earlier sessions; by default as many as asked"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="end each row after this time")
    parser.add_argument("--only", type=int, help="one case, in the folder `case`, which is kept")
    options = parser.parse_args()
    faults = 0
    warm()
    sys.path.append(str(Path(__file__).parents[1] / "torture"))
    for row in rows or options.rows:
        attack = import_module(row).attack
        if options.only is None:
            faults += _row(row, attack, options)
            continue
        folder = Path("case").absolute()
        folder.mkdir()
        print(_tried(attack, row, options.seed, options.only, folder) or "nothing went wrong")
    gc.unfreeze()
    return bool(faults)


def _row(row: str, attack: Attack, options: argparse.Namespace) -> int:
    """How many cases of a row failed now."""
    before, end, faults = known(), time.monotonic() + 60 * options.minutes, 0
    print(f"{row}: seed {options.seed}", flush=True)
    for case in range(ASKED[row] if options.cases is None else options.cases):
        if (row, options.seed, case) in before:
            continue
        if time.monotonic() > end:
            break
        with tempfile.TemporaryDirectory(prefix="torture") as folder:
            fault = _tried(attack, row, options.seed, case, Path(folder))
        line = {"row": row, "seed": options.seed, "case": case, "fault": fault}
        with results().open("a") as file:
            file.write(json.dumps(line) + "\n")
        if fault:
            faults += 1
            print(f"  case {case}: {fault}", flush=True)
    return faults


def _tried(attack: Attack, row: str, seed: int, case: int, folder: Path) -> str:
    place = Path.cwd()
    os.chdir(folder)
    try:
        return attack(Chance(row, seed, case), folder)
    except Exception:
        return "the attack itself: " + " | ".join(traceback.format_exc().strip().splitlines()[-3:])
    finally:
        os.chdir(place)


def table() -> str:
    """Asked, tried and failed, by row."""
    tried: dict[str, list[str]] = defaultdict(list)
    for (row, _, _), fault in known().items():
        tried[row].append(fault)
    lines = [f"{'':24}{'asked':>8}{'tried':>8}{'failed':>8}"]
    for row, asked in ASKED.items():
        lines.append(f"{row:24}{asked:>8,}{len(tried[row]):>8,}{sum(map(bool, tried[row])):>8,}")
    return "\n".join(lines)


@dataclass
class Done:
    """How a command ended: its exit status (negative for a signal), output, peak memory in bytes and processor time."""

    status: int
    out: str
    err: str
    memory: int = 0
    seconds: float = 0.0

    def fault(self, *allowed: int) -> str:
        """What is wrong with how it ended: another status, a traceback, more than a line for status 2."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        if re.search(r"Traceback|^[\w.]*(Error|Exception)(:|$)", self.err, re.MULTILINE):
            return f"status {self.status}, traceback: {' | '.join(lines[-2:])[:300]}"
        if self.status not in allowed:
            return f"status {self.status}: {' | '.join(lines[-2:])[:300]}"
        if self.status == 2 and not lines:
            return "status 2 without a word"
        return ""


class Command:
    """A command line in a process forked from this one, which has imported what takes long.

    Args:
        arguments: Those after `genmods`, or a function to call, whose value is the exit status.
        folder: The working directory.
        prepare: Called in the process before: patches, limits, a change of the environment.
    """

    def __init__(
        self,
        arguments: list[str] | Callable[[], int],
        folder: Path,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        sys.stdout.flush(), sys.stderr.flush()
        self.id = os.fork()
        if self.id == 0:
            self._child(arguments, folder, prepare)

    def _child(self, arguments: list[str] | Callable[[], int], folder: Path, prepare: Callable | None) -> None:
        status = 70
        try:
            os.setpgid(0, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            for descriptor, file in zip((1, 2), self.files, strict=True):
                os.dup2(file.fileno(), descriptor)
            sys.stdout, sys.stderr = (io.TextIOWrapper(open(n, "wb", 0), write_through=True) for n in (1, 2))  # noqa: SIM115
            os.chdir(folder)
            if prepare is not None:
                prepare()
            from genmods.cli import dispatch

            status = dispatch(arguments) if isinstance(arguments, list) else arguments()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
            status = 1
        finally:
            os._exit(status & 255)

    def wait(self, seconds: float = 1800, watch: Callable[[], object] = lambda: None) -> Done:
        """Wait for its end; after so many seconds of work, or of waiting for something, it is killed: status -9.

        `watch` is called again and again until then.
        """
        last, idle = time.monotonic(), 0.0
        while True:
            found, code, usage = os.wait4(self.id, os.WNOHANG)
            if found:
                break
            now, (state, work) = time.monotonic(), _state(self.id)
            idle, last = idle + (now - last) * (state == "S"), now  # a busy machine lets it wait in the state R
            if max(idle, work) > seconds:
                self.kill()
            watch()
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.id, signal.SIGKILL)  # its workers
        texts = []
        for file in self.files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        status = os.waitstatus_to_exitcode(code)
        return Done(status, *texts, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)

    def peak(self) -> int:
        """The largest memory so far, in bytes."""
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.id}/status").read_text())
        return 1024 * int(found[1]) if found else 0  # none once it has ended

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.id, number)


def _state(process: int) -> tuple[str, float]:
    """The state of a process, S if it waits for something, and its processor time in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def command(*arguments: str, prepare: Callable[[], object] | None = None, seconds: float = 1800) -> Done:
    """A command line to its end, in the working directory."""
    return Command(list(arguments), Path.cwd(), prepare).wait(seconds)


def called(function: Callable[..., object], *given: object) -> Done:
    """A call in this process, with what it prints; 2 for a UserError, 1 for any other exception."""
    from genmods.core.errors import UserError
    from genmods.core.printable import printable
    from genmods.core.system import system_error

    out, err = io.StringIO(), io.StringIO()
    began, status = time.process_time(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            found = function(*given)
            status = found if isinstance(found, int) else 0
        except UserError as error:
            status = 2
            err.write(f"{error}\n")
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        except Exception as error:
            line = system_error(error)
            status = 2 if line else 1
            err.write(f"{printable(line) if line else f'Traceback {type(error).__name__}: {error}'}\n")
    return Done(status, out.getvalue(), err.getvalue(), 0, time.process_time() - began)


def warm() -> None:
    """Import what every command needs, with one thread, so that forked processes start at once."""
    import torch

    torch.set_num_threads(1)
    import lightning.pytorch  # noqa: F401
    import sklearn.datasets  # noqa: F401

    import genmods.cli.classify
    import genmods.cli.export
    import genmods.cli.fit
    import genmods.cli.generate
    import genmods.runs.evaluate
    import genmods.runs.fit
    import genmods.tasks.classification
    import genmods.tasks.diffusion  # noqa: F401

    gc.collect()
    gc.freeze()  # times of single calls are not those of the garbage of imports


def peak() -> int:
    """The peak memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder."""
    shutil.copytree(source, target, symlinks=True)
    return target


if __name__ == "__main__":
    main()
    print(table())
    sys.exit(any(known().values()))
