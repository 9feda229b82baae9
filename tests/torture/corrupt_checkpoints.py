"""Damaged checkpoints: reported in one line, or harmless; the run resumes from an intact one.

nox -s torture -- corrupt_checkpoints
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.core import checkpoint as files
from genmods.runs.checkpoint import Checkpoint
from support.torture import called, command, copied, main
from support.torture_damage import damage
from support.torture_runs import trained

COMMANDS = 0.05
"""The share of the cases in which commands are called too."""


def attack(chance: random.Random, folder: Path) -> str:
    name = chance.choice(["c", "d"])
    whole = trained(name)
    run = copied(whole / "run", folder / "runs" / name / "run")
    path = chance.choice(sorted((run / "checkpoints").glob("*.ckpt")))
    good = files.digest(files.load(path))
    kind = damage(path, chance)
    done = called(Checkpoint.read, path)
    if done.status == 0:
        if files.digest(Checkpoint.read(path).content) != good:
            return f"{kind}: read without a word, with another content"
    elif fault := done.fault(2) or ("" if str(path) in done.err and done.err.count("\n") == 1 else f"told {done.err}"):
        return f"{kind}: {fault}"
    if chance.random() > COMMANDS:
        return ""
    (folder / "recipe.yaml").write_text((whole / "recipe.yaml").read_text())
    resumed = command("fit", "--config", "recipe.yaml", "--quiet", "--ckpt_path", "last", "--trainer.max_steps=22")
    if fault := resumed.fault(0):
        return f"{kind} of {path.name}: fit {fault}"
    used = ["classify", "--input", "images"] if name == "c" else ["generate", "--n", "2", "--out", "o"]
    if name == "d" and (fault := command(*used, "--ckpt_path", str(run)).fault(0)):
        return f"{kind} of {path.name}: {used[0]} {fault}"
    return ""


if __name__ == "__main__":
    sys.exit(main("corrupt_checkpoints"))
