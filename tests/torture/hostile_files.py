"""Checkpoints, exports, tables, artifacts that somebody made to hurt: no code, no import, nothing outside, one line.

nox -s torture -- hostile_files
"""

import json
import os
import random
import sys
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.cli import dispatch
from genmods.core import safetensors
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import find_checkpoint
from support.artifacts import PLACE, REFERENCE
from support.torture import Chance, Command, Done, called, main
from support.torture_artifacts import ARTIFACTS
from support.torture_payloads import CANARY, CHECKPOINTS, EXPORTS, MODULE, exported
from support.torture_runs import trained

ROOM, SECONDS = 200 * 2**20, 2.0
USUAL = ("lscpu", "ldconfig", "gcc", "git", "uname")
"""Programs that a fit starts to record its environment."""


def watched(folder: Path) -> None:
    """Note in the file `seen` what no command may do for a file: programs, imports, files outside, connections."""
    sys.path.insert(0, str(folder))

    def hook(event: str, arguments: tuple) -> None:
        text = ""
        if event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pty.spawn"):
            text = "" if any(f"'{program}'" in str(arguments) for program in USUAL) else f"{event} {arguments}"
        elif event == "import" and MODULE in str(arguments[0]):
            text = f"import {arguments[0]}"
        elif event in ("open", "os.scandir", "os.listdir", "os.mkdir", "os.rename") and CANARY in str(arguments[0]):
            text = f"{event} {arguments[0]}"
        elif event in ("socket.connect", "socket.getaddrinfo"):
            text = f"{event} {arguments[:2]}"
        if text:
            seen = os.open(folder / "seen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(seen, f"{text}\n".encode())
            os.close(seen)

    sys.addaudithook(hook)


def table(chance: random.Random, folder: Path) -> None:
    """A folder of two images with a table of labels that somebody made."""
    root = folder / "images"
    root.mkdir()
    for name in ("a", "b"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(root / f"{name}.png")
    cells = [
        f"../{CANARY}/a.png",
        str(folder / CANARY / "a.png"),
        "a.png\0",
        "\x1b[2J",
        "9" * 9999,
        "nan",
        "1e999",
        "",
        "=1+1",
    ]
    cells += ["a.png", "b.png", "a.png", '"', '"a\nb"', "\u202e", "/dev/zero", "[1, [2]]", "x" * 200_000]
    rows = [[chance.choice(cells) for _ in range(chance.randint(0, 4))] for _ in range(chance.randint(0, 9))]
    text = "\n".join([chance.choice(["file_name,label", "file_name;label", "label", ""]), *map(",".join, rows)]) + "\n"
    twice = "file_name,label\n" + "a.png,1\n" * 9
    contents = {
        "csv": [text, text.replace("\n", "\r"), "\0" * 999, twice, "a," * 99_999, "\ufeff" + text],
        "jsonl": ["[" * 99_999, '{"file_name": "a.png", "label": NaN}\n', '{"file_name": ["a.png"]}\n', "9" * 9999],
        "tsv": [text.replace(",", "\t"), "file_name\tlabel\n" + f"../{CANARY}/a.png\t1\n"],
        "parquet": ["PAR1" + "\0" * 99 + "PAR1", text],
    }  # fmt: skip
    suffix = chance.choice(list(contents))
    path, kind = root / f"metadata.{suffix}", chance.random()
    if kind < 0.8:
        path.write_bytes(chance.choice(contents[suffix]).encode("utf-8", "surrogatepass"))
    elif kind < 0.9:
        path.symlink_to(chance.choice(["/dev/zero", folder / CANARY / "a", path.name]))
    else:
        os.mkfifo(path)


def read_table(folder: Path) -> int:
    from genmods.data.sources.image_folder import ImageFolder

    ImageFolder(root=str(folder / "images")).read_at((8, 8))
    return 0


def config(chance: random.Random, folder: Path) -> None:
    """A good export beside a `config.json` that somebody made."""
    header, tensors = exported(chance)
    place = folder / "images"
    place.mkdir()
    safetensors.save(header, tensors, place / "model.safetensors")
    header["recipe"]["task"]["network"] = {"name": f"{MODULE}:Net"}
    texts = [
        "",
        "null",
        "[" * 10**5,
        "9" * 9999,
        json.dumps(header),
        '{"a": 1e999}',
        "\0",
        "{}",
        '{"genmods_format": 1e9}',
    ]
    path = place / "config.json"
    if chance.random() < 0.8:
        path.write_text(chance.choice(texts))
    elif chance.random() < 0.5:
        path.symlink_to(chance.choice([folder / CANARY / "a", "/dev/zero"]))
    else:
        os.mkfifo(path)


OTHERS = {
    "a table": (table, read_table),
    "another table": (table, read_table),
    "the configuration of an export": (config, lambda folder: used(str(folder / "images" / "model.safetensors"))),
}


def used(path: str) -> int:
    """What every command that reads a model does."""
    Checkpoint.read(find_checkpoint(path)).model()
    return 0


def way(chance: random.Random, path: str) -> tuple[str, ...]:
    """How the file is used: the words of a command; without any, it is read and its model is built."""
    ways = [(), (), ("generate", "--n", "1", "--out", "o", "--quiet"), ("export", "--out", "m.safetensors")]
    if not path.endswith(".safetensors"):
        ways += [("fit", "--config", "recipe.yaml", "--quiet", "--trainer.max_steps=21")] * 2
    words = chance.choice(ways)
    return (*words, "--ckpt_path", path) if words else ()


def used_by(words: tuple[str, ...], path: str) -> int:
    return guarded(lambda: dispatch(list(words)) if words else used(path))


def guarded(act) -> int:
    done = called(act)
    sys.stdout.write(done.out)
    sys.stderr.write(done.err)
    return done.status


@cache
def usual(name: str, words: tuple[str, ...]) -> Done:
    """What the use of a good file of the kind takes; `words` with FILE in place of its path."""
    path = trained(name) / "run" / "checkpoints" / "last.ckpt"
    folder = trained(name) / "usual"
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text((trained(name) / "recipe.yaml").read_text())
    (folder / "good.ckpt").write_bytes(path.read_bytes())
    real = tuple(word.replace("FILE", str(folder / "good.ckpt")) for word in words)
    return Command(lambda: used_by(real, str(path)), folder).wait()


def attack(chance: Chance, folder: Path) -> str:
    kind = chance.deal([*CHECKPOINTS, *EXPORTS, *OTHERS, *ARTIFACTS])
    (folder / MODULE).with_suffix(".py").write_text("class Net: pass\n")
    (folder / CANARY).mkdir()
    (folder / CANARY / "a").write_text("secret")
    name = chance.choice("cd")
    (folder / "recipe.yaml").write_text((trained(name) / "recipe.yaml").read_text())
    if kind in OTHERS:
        make, read = OTHERS[kind]
        make(chance, folder)
        path, words = folder / "images", ()
        act = lambda: guarded(lambda: read(folder))  # noqa: E731
    elif kind in ARTIFACTS:
        artifact, path = ARTIFACTS[kind](chance, folder), folder / PLACE
        words = way(chance, REFERENCE)
        act = lambda: artifact.serve(setattr, folder / "cache") or used_by(words, REFERENCE)  # noqa: E731
    else:
        path = folder / "run" / ("x.ckpt" if kind in CHECKPOINTS else "x.safetensors")
        path.parent.mkdir()
        make = {**CHECKPOINTS, **EXPORTS}[kind]
        made = Command(lambda: make(chance, folder, path) or 0, folder).wait(60)  # its memory is not counted
        if made.status or not os.path.lexists(path):
            return f"{kind}: the attack itself: {made.err[-300:]}"
        words = way(chance, str(path))
        act = lambda: used_by(words, str(path))  # noqa: E731
    good = usual(name, tuple(word.replace(REFERENCE, "FILE").replace(str(path), "FILE") for word in words))
    done = Command(act, folder, lambda: watched(folder)).wait(60)
    fault = _judged(done, good, path, folder)
    return fault and f"{kind}: {' '.join(words[:1])}: {fault}"


def _judged(done: Done, usual: Done, path: Path, folder: Path) -> str:
    if any(folder.rglob("ran*")):
        return "code was run"
    if (folder / "seen").exists():
        return f"did {(folder / 'seen').read_text()[:300]}"
    if fault := done.fault(0, 2):
        return fault
    lines = done.err.splitlines()
    named = any(word in done.err for word in (path.name, REFERENCE, "cannot resume: "))  # a good file of another task
    if done.status == 2 and (len(lines) != 1 or not named):
        return f"told: {done.err[:300]!r}"
    if not all(line.isprintable() and len(line) <= 2000 for line in (done.out + done.err).splitlines()):
        return f"control characters: {done.err[:300]!r}"
    size = path.stat().st_size if path.is_file() else 0
    if done.memory > usual.memory + 2 * size + ROOM:
        return f"{(done.memory - usual.memory) / 2**20:.0f} MiB: {done.err[:200]}"
    return f"{done.seconds:.1f} s: {done.err[:200]}" if done.seconds > usual.seconds + SECONDS else ""


if __name__ == "__main__":
    sys.exit(main("hostile_files"))
