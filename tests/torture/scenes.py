"""Read-only folders, folders and caches taken away, no permission, limits of memory: one line, nothing good lost.

nox -s torture -- scenes
"""

import os
import random
import resource
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.tasks.base import Task
from support.torture import Chance, Command, copied, main
from support.torture_runs import RECIPES, trained

NOBODY = 65534
CRASHED = (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
"""Ends of a process in which a native library does not check what the allocator returns."""


def other_user() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def memory(extra: int):
    def prepare() -> None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + extra, size + extra))

    return prepare


def loses(folder: Path, at: int):
    """A preparation: at a step the folder of runs is taken away."""

    def prepare() -> None:
        original = Task.on_train_batch_start

        def act(task, batch, index):
            if task.trainer.global_step == at and folder.exists():
                shutil.rmtree(folder)
            return original(task, batch, index)

        Task.on_train_batch_start = act

    return prepare


def variables(**values: str):
    return lambda: os.environ.update(values)


def scene(kind: str, chance: random.Random, folder: Path):
    """The command line of a scene and its preparation."""
    name = chance.choice(list(RECIPES))
    (folder / "recipe.yaml").write_text(RECIPES[name])
    copied(trained("d") / "run", folder / "d")
    fit = ["fit", "--config", "recipe.yaml", "--quiet"]
    generate = ["generate", "--ckpt_path", "d", "--n", "4", "--out", "o"]
    wide = [*generate[:4], "3000", "--batch_size", "3000", "--out", "o"]
    anywhere = chance.choice([fit, generate, ["export", "--ckpt_path", "d", "--out", "x/m.safetensors"]])
    return {
        "runs are taken away": (fit, loses(folder / "runs", chance.randint(1, 15))),
        "runs is a file": (fit, lambda: Path("runs").write_text("")),
        "runs is a broken link": (fit, lambda: Path("runs").symlink_to("nowhere/else")),
        "another user": (anywhere, lambda: (os.chmod(".", 0o755), other_user())),
        "out is a file": (generate, lambda: Path("o").write_text("")),
        "no cache": (anywhere, variables(GENMODS_CACHE="/proc/nowhere", XDG_CACHE_HOME="/proc/x")),
        "no home": (anywhere, variables(HOME="/proc/nowhere", MPLCONFIGDIR="/proc/x")),
        "runs elsewhere": (fit, variables(GENMODS_RUNS="/proc/nowhere")),
        "no temporary folder": (anywhere, variables(TMPDIR="/proc/nowhere")),
        "few files": (fit, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (chance.randint(12, 30),) * 2)),
        "short files": (anywhere, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (chance.randint(1, 60_000),) * 2)),
        "little memory": (chance.choice([fit, wide]), memory(chance.randint(1, 60) * 2**20)),
        "a large batch": ([*fit, "--data.batch_size=1000000000"], None),
        "the recipe is a folder": (["fit", "--config", "."], None),
        "the folder is gone": (anywhere, lambda: shutil.rmtree(os.getcwd())),
    }[kind]


KINDS = [
    "runs are taken away", "runs is a file", "runs is a broken link", "another user", "out is a file", "no cache",
    "no home", "runs elsewhere", "no temporary folder", "few files", "short files", "little memory", "a large batch",
    "the recipe is a folder", "the folder is gone",
]  # fmt: skip


def attack(chance: Chance, folder: Path) -> str:
    kind = chance.deal([kind for kind in KINDS if os.getuid() == 0 or kind != "another user"])
    words, prepare = scene(kind, chance, folder)
    done = Command(words, folder, prepare).wait(120)
    lines = [line for line in done.err.splitlines() if line.strip()]
    told = f"{kind}: {' '.join(words)}"
    if kind == "little memory" and done.status in CRASHED:
        done = Command(words, folder).wait(120)  # a library crashed: with more memory the same command goes on
    if fault := done.fault(0, 2):
        return f"{told}: {fault}"
    if done.status == 2 and len(lines) > 2:
        return f"{told}: {len(lines)} lines: {lines}"
    if done.status == 2 and (folder / "o").is_dir() and any((folder / "o").iterdir()):
        return f"{told}: half a result: {sorted(os.listdir(folder / 'o'))[:5]}"
    left = [path for path in folder.rglob(".*.part")]
    return f"{told}: left over {left[0].name}" if left else ""


if __name__ == "__main__":
    sys.exit(main("scenes"))
