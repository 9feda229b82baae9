"""Two processes at once: in one moment, in one run folder, in one output folder, with one cache.

nox -s torture -- pairs
"""

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.core import checkpoint as files
from support.torture import Chance, Command, command, copied, main
from support.torture_runs import RECIPES, fit, left_over, outcome, run_of, trained


def one_moment(chance: random.Random, folder: Path) -> str:
    """Two new runs of one recipe have two folders, and the same outcome."""
    name = chance.choice(list(RECIPES))
    first = fit(name, folder)
    time.sleep(chance.choice([0, 0, 0.01, 0.3]))
    second = fit(name, folder)
    for process in (first, second):
        if fault := process.wait().fault(0):
            return fault
    runs = sorted((folder / "runs").glob("*/*"))
    if len(runs) != 2:
        return f"{len(runs)} folders"
    same = {outcome(run) for run in runs} == {outcome(trained(name) / "run")}
    return "" if same else "another outcome than alone"


def live_run(chance: random.Random, folder: Path) -> str:
    """A second fit into a run that is being trained is refused with process and host."""
    name = chance.choice(list(RECIPES))
    first = fit(name, folder, "--trainer.max_steps=200")
    end = time.monotonic() + 60
    while not list(folder.glob("runs/*/*/checkpoints/last.ckpt")) and time.monotonic() < end:
        time.sleep(0.02)
    run = run_of(folder)
    done = command("fit", "--config", "recipe.yaml", "--quiet", "--ckpt_path", str(run), "--trainer.max_steps=200")
    whole = first.wait()
    if fault := whole.fault(0):
        return f"the first: {fault}"
    lines = (run / "metrics.csv").read_text().splitlines()[1:]  # as they are: `read_metrics` merges and sorts them
    rows = [int(line.split(",")[0]) for line in lines]
    if done.status == 0:  # it came after the end
        return "" if "nothing was trained" in done.err else f"let in: {done.err[:200]}"
    if done.fault(2) or f"process {first.id} on " not in done.err or done.err.count("\n") != 1:
        return f"told {done.err[:200]!r}"
    return left_over(run) or ("" if rows == sorted(set(rows)) else "rows of metrics twice or out of order")


def one_output(chance: random.Random, folder: Path) -> str:
    """Two `generate` into one folder leave the images of one of them."""
    copied(trained("d") / "run", folder / "d")
    words = [["generate", "--ckpt_path", "d", "--n", "9", "--out", "o", "--seed", str(seed)] for seed in (1, 2)]
    processes = []
    for each in words:
        processes.append(Command(each, folder))
        time.sleep(chance.choice([0, 0, 0.05, 0.3]))
    done = [process.wait() for process in processes]
    if fault := next(filter(None, (each.fault(0, 2) for each in done)), ""):
        return fault
    if not any(each.status == 0 for each in done):
        return f"both were refused: {done[0].err[:100]} {done[1].err[:100]}"
    found = {path.name: path.read_bytes() for path in (folder / "o").iterdir() if path.suffix == ".png"}
    alone = []
    for each in words:
        if command(*each[:-4], "--out", f"alone{each[-1]}", *each[-2:]).status != 0:
            return "alone it fails"
        alone.append({p.name: p.read_bytes() for p in (folder / f"alone{each[-1]}").iterdir() if p.suffix == ".png"})
    return "" if found in alone else "the images of two runs in one folder"


def beside_training(chance: random.Random, folder: Path) -> str:
    """Commands that read, while the run is trained, end well and change nothing."""
    first = fit("d", folder, "--trainer.max_steps=100")
    end = time.monotonic() + 60
    while not list(folder.glob("runs/*/*/checkpoints/last.ckpt")) and time.monotonic() < end:
        time.sleep(0.02)
    run = str(run_of(folder))
    for words in (
        ["runs"],
        ["report", run, "--out", "r.html"],
        ["generate", "--ckpt_path", run, "--n", "2", "--out", "o"],
    ):
        if fault := command(*words).fault(0):
            return f"{words[0]}: {fault}"
    if fault := first.wait().fault(0):
        return f"the training: {fault}"
    return left_over(Path(run)) or (
        "" if files.load(Path(run) / "checkpoints/last.ckpt")["global_step"] == 100 else "steps"
    )


def attack(chance: Chance, folder: Path) -> str:
    act = chance.deal([one_moment, live_run, one_output, beside_training])
    fault = act(chance, folder)
    return fault and f"{act.__name__}: {fault}"


if __name__ == "__main__":
    sys.exit(main("pairs"))
