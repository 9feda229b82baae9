"""Damaged exports: found and named in one line, or harmless.

nox -s torture -- corrupt_exports
"""

import random
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.core import checkpoint as files
from genmods.runs.checkpoint import Checkpoint
from support.torture import called, command, main
from support.torture_damage import damage
from support.torture_runs import trained


@cache
def exported(name: str) -> bytes:
    """The bytes of an export of a recipe's run."""
    path = trained(name) / "model.safetensors"
    assert command("export", "--ckpt_path", str(trained(name) / "run"), "--out", str(path)).status == 0
    return path.read_bytes()


def attack(chance: random.Random, folder: Path) -> str:
    path = folder / "model.safetensors"
    path.write_bytes(exported(chance.choice(["c", "d"])))
    good = files.digest(Checkpoint.read(path).content)
    kind = damage(path, chance)
    done = called(Checkpoint.read, path)
    if done.status == 0:
        same = files.digest(Checkpoint.read(path).content) == good
        return "" if same else f"{kind}: read without a word, with another content"
    return done.fault(2) or ("" if str(path) in done.err and done.err.count("\n") == 1 else f"{kind}: told {done.err}")


if __name__ == "__main__":
    sys.exit(main("corrupt_exports"))
