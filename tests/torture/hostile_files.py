"""Checkpoints and exports that somebody made to hurt: no code, no import, little memory, one line.

nox -s torture -- hostile_files
"""

import copy
import io
import json
import pickle
import random
import struct
import sys
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.core import checkpoint as files
from genmods.runs.checkpoint import Checkpoint
from support.torture import Command, Done, called, main
from support.torture_runs import trained

ROOM, SECONDS = 200 * 2**20, 2.0


class Runs:
    """Unpickled, it would write a file."""

    def __init__(self, *call) -> None:
        self.call = call

    def __reduce__(self):
        function, *given = self.call
        return function, tuple(given)


def nested(depth: int, wide: int = 1):
    value = [1]
    for _ in range(depth):
        value = [value] * wide
    return value


def archive(content: object, chance: random.Random, path: Path) -> None:
    """A file as `torch.save` writes it, with a pickle of our own."""
    stream = io.BytesIO()
    torch.save({"a": torch.ones(2)}, stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = content if isinstance(content, bytes) else pickle.dumps(content, chance.choice([0, 2, 4, 5]))
            new.writestr(zipfile.ZipInfo(entry.filename), data)


def codes(chance: random.Random, folder: Path) -> object:
    """An object whose unpickling would run code or import a module."""
    mark = str(folder / "ran")
    import os
    import subprocess

    calls = [
        (os.system, f"touch {mark}"),
        (open, mark, "w"),
        (eval, f"open({mark!r}, 'w')"),
        (exec, f"open({mark!r}, 'w')"),
        (subprocess.call, ["touch", mark]),
        (__import__, "antigravity"),
        (os.mkdir, mark),
        (torch.load, mark),
        (getattr, os, "system"),
        (bytearray, 10**12),
    ]
    return Runs(*chance.choice(calls))


def contents(chance: random.Random) -> object:
    """Something that is no plain data, or more than the file holds."""
    return chance.choice(
        [
            lambda: torch.zeros(1).expand(10 ** chance.randint(8, 15)),
            lambda: torch.zeros(2).as_strided((10**6, 10**6), (0, 0)),
            lambda: nested(chance.randint(30, 400)),
            lambda: nested(chance.randint(20, 60), 2),
            lambda: torch.empty(10**12, device="meta"),
            lambda: torch.eye(9).to_sparse(),
            lambda: torch.eye(9).to_sparse_csr(),
            lambda: 10 ** chance.choice([100, 5000]),
            lambda: {(1, 2): 3},
            lambda: {1: 2, None: 3},
            lambda: "x" * 5_000_000,
            lambda: float("nan"),
            lambda: {str(k): k for k in range(200_000)},
            lambda: [torch.zeros(0)] * 100_000,
            lambda: torch.ones(3, dtype=torch.complex64),
            lambda: bytes(9),
            lambda: {1, 2},
        ]
    )()


def leaves(tree: object, path: tuple = ()):
    """The places of a checkpoint's tree, without those inside of lists of tensors."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*path, key)
            yield from leaves(value, (*path, key))


def changed(chance: random.Random) -> dict:
    """The content of a good checkpoint with something else at one place, or a recipe of enormous size."""
    content = copy.deepcopy(files.load(trained(chance.choice(["c", "d"])) / "run" / "checkpoints" / "last.ckpt"))
    if chance.random() < 0.3:
        network = content["recipe"]["task"]["network"]
        size = chance.choice([10**3, 10**5, 10**9, 10**30])
        if network["name"] == "cnn":
            network["layers"] = chance.choice([[f"conv {size}"], ["conv 4"] * min(size, 9000), [f"linear {size}"]])
        else:
            key = chance.choice(["width", "blocks", "multipliers"])
            network[key] = [1] * min(size, 9000) if key == "multipliers" else size
        return content
    place = chance.choice([path for path in leaves(content) if len(path) <= 4])
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    if chance.random() < 0.3:
        del inside[place[-1]]
    else:
        inside[place[-1]] = contents(chance)
    return content


def header(chance: random.Random, path: Path) -> None:
    """An export with a header of our own."""
    kind = chance.randrange(4)
    if kind == 0:
        path.write_bytes(
            struct.pack("<Q", chance.choice([0, 2, 10**6, 2**62])) + chance.randbytes(chance.randint(0, 99))
        )
    elif kind == 1:
        shape = [chance.choice([10**9, 10**15, -1, 0])]
        text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}}).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + b"0000")
    else:
        text = chance.choice(["", "null", "[1]", "[" * 10**5, '{"a":' * 10**4, "9" * 9999, '{"recipe": {}}', "{}"])
        tensors = {"a": torch.ones(1)}
        checksum = files.digest({"header": text, **tensors})
        metadata = {"genmods": text, "genmods_format": str(files.FORMAT), "genmods_checksum": checksum}
        save_file(tensors, path, metadata)


def written(chance: random.Random, folder: Path) -> Path:
    """A hostile file of one of four kinds."""
    kind = chance.randrange(5)
    path = folder / ("x.safetensors" if kind == 4 else "x.ckpt")
    if kind == 0:
        archive(codes(chance, folder), chance, path)
    elif kind == 1:
        whole = {"x": contents(chance), "genmods_checksum": "0" * 32, "genmods_format": files.FORMAT}
        torch.save(whole, path)
    elif kind in (2, 3):
        content = {**changed(chance), "genmods_format": files.FORMAT}
        torch.save({**content, "genmods_checksum": _checksum(content)}, path)
    else:
        header(chance, path)
    return path


def _checksum(content: dict) -> str:
    try:
        return files.digest(content) if sum(1 for _ in leaves(content)) < 10**4 else "0" * 32
    except Exception:
        return "0" * 32


def use(path: Path) -> int:
    """What every command that reads a model does; exits with 3 if a module was imported that no good file imports."""
    before = set(sys.modules)
    done = called(lambda: Checkpoint.read(path).model() and 0)
    sys.stderr.write(done.err)
    strange = {"antigravity", "this", "turtle", "idlelib"} & (set(sys.modules) - before)
    return 3 if strange else done.status


def attack(chance: random.Random, folder: Path) -> str:
    made = Command(lambda: bool(written(chance, folder)) and 0, folder).wait(60)  # what it takes to make is not counted
    path = next(iter(folder.glob("x.*")), None)
    if path is None:
        return "" if made.status else "nothing was written"
    good = trained("c") / "run" / "checkpoints" / "last.ckpt"
    usual, done = (Command(lambda path=path: use(path), folder).wait(30) for path in (good, path))
    return _judged(done, usual, path, folder)


def _judged(done: Done, usual: Done, path: Path, folder: Path) -> str:
    if (folder / "ran").exists():
        return "code was run"
    if done.status == 0:  # harmless: a number that nothing reads
        return ""
    if fault := done.fault(2):
        return fault
    if done.err.count("\n") != 1 or (str(path) not in done.err and "x.ckpt" not in done.err):
        return f"told: {done.err[:300]!r}"
    if done.memory > usual.memory + 2 * path.stat().st_size + ROOM:
        return f"{(done.memory - usual.memory) / 2**20:.0f} MiB: {done.err[:200]}"
    return f"{done.seconds:.1f} s: {done.err[:200]}" if done.seconds > usual.seconds + SECONDS else ""


if __name__ == "__main__":
    sys.exit(main("hostile_files"))
