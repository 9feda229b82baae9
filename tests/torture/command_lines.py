"""Command lines at random: an answer, or one line with status 2.

nox -s torture -- command_lines
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.cli import COMMANDS, dispatch
from support.torture import called, main

HARMLESS = ["check", "show", "list", "recipes", "runs", "draw", "report"]
"""Commands that end soon whatever they are given; the others get a checkpoint that is not there."""
WORDS = [
    "cnn", "ddpm", "last", "", "-", "--", "---", "-1", "0", "1e9", "9" * 5000, "²", "\x1b[2J", "a\nb", "nowhere.ckpt",
    "/proc/self/mem", "/dev/null", "..", "*", "network", "unet", "sampler", "heun", "--help", "-h", "--version",
    "--no-plugins", "--import", "x.py", "--config", "--ckpt_path", "--out", "--n", "--seed", "--label", "--input",
    "--task.network.width=8", "--task.network=unet", "--data.batch_size=", "--trainer.max_steps=-1", "--x", "--seed=",
    "--callbacks.0.every=1", "--callbacks.²=x", "--optimizer.lr=nan", "--a.b.c.d=1", "--task=", "--=1", "--.=1",
    "--data=digits", "--logger=none", "--condition", "angle=0", "--guidance", "nan", "--sampler", "--steps", "x" * 3000,
    "--trainer.devices=x", "--schedule=cosine", "--schedule.warmup=[[", "--task.network.width={a: ", "\ud800",
]  # fmt: skip


def attack(chance: random.Random, folder: Path) -> str:
    command = chance.choice([*COMMANDS, *HARMLESS, "fitt", "", "--help"])
    words = [chance.choice(WORDS) for _ in range(chance.randint(0, 5))]
    if command in HARMLESS and chance.random() < 0.5:
        words.insert(0, chance.choice(["cnn", "ddpm", "network", "unet"]))
    elif command in ("fit", "validate", "test", "predict"):
        words = ["--config", "cnn", "--print_config", *words]
    elif command == "find_lr":
        words = ["--config", "nowhere", *words]
    elif command not in HARMLESS:
        words = [word for word in words if word not in ("last", "--import")] + ["--ckpt_path", "nowhere.ckpt"]
    done = called(dispatch, [command, *words])
    shown = " ".join([command, *words])[:200]
    if fault := done.fault(0, 2):
        return f"{fault}: {shown!r}"
    lines = done.err.splitlines()
    if done.status == 2 and not (len(lines) == 1 and len(lines[0]) <= 2000 and lines[0].isprintable()):
        return f"{len(lines)} lines: {done.err[:200]!r}: {shown!r}"
    return ""


if __name__ == "__main__":
    sys.exit(main("command_lines"))
