"""Run folders that somebody made to hurt: `runs`, `report`, `generate` and `fit` read them as far as they can be read.

nox -s torture -- hostile_folders
"""

import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.torture import command, copied, main
from support.torture_damage import damage
from support.torture_runs import trained

TEXTS = [
    b"", b"\0" * 99, b"null", b"[1]", b"{", b"[" * 10**5, b'{"a":' * 10**4, b"9" * 9999, b'{"step": NaN}', b"\xff\xfe",
    b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (k, k, k - 1, k - 1) for k in range(98, 118)),
    b"step,val/loss\n0,1\n1," + b"9" * 10**6 + b"\n", b"a," * 10**5 + b"\n1\n" * 9, b"step\n-1\n1e999\nnan\n",
    b"name: !!python/object/apply:os.system [touch ran]\n", b"<script>document.title=1</script>", b"\x1b[2J\n",
    b'{"state": "running", "step": 1e400}', b'{"state": [], "step": {}}', b"=1+1\n", b"GIF89a", b"PK\x03\x04" * 99,
]  # fmt: skip


def spoiled(run: Path, chance: random.Random, secret: Path) -> str:
    """Spoil one file of the run; returns what was done."""
    path = chance.choice(sorted(p for p in run.rglob("*") if p.is_file() and p.suffix != ".ckpt"))
    kind = chance.choice(["text", "text", "damage", "link", "pipe", "folder", "gone", "loop", "large"])
    if kind == "damage" and path.stat().st_size:
        damage(path, chance)
    elif kind == "text":
        path.write_bytes(chance.choice(TEXTS))
    else:
        path.unlink()
        if kind == "link":
            path.symlink_to(secret)
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path.name)
        elif kind == "large":
            with path.open("wb") as file:
                file.truncate(3 * 10**9)
    return f"{kind} {path.relative_to(run)}"


def attack(chance: random.Random, folder: Path) -> str:
    name = chance.choice(["c", "d"])
    run = copied(trained(name) / "run", folder / "runs" / name / "run")
    copied(trained(name) / "run", folder / "runs" / name / "good")
    secret = folder / "secret"
    secret.write_text('{"test/loss": 0.0987654321}')
    told = spoiled(run, chance, secret)
    used = [["generate", "--n", "2", "--out", "o"]] if name == "d" else [["export", "--out", "m.safetensors"]]
    commands = [["runs", "runs"], ["report", str(run), "--out", "r.html"]]
    commands += [[*words, "--ckpt_path", str(run)] for words in used]
    for words in commands:
        done = command(*words, seconds=60)
        if fault := done.fault(0, 2):
            return f"{told}: {words[0]}: {fault}"
        if done.status == 2 and done.err.count("\n") != 1:
            return f"{told}: {words[0]}: {done.err[:300]!r}"
        if words[0] == "runs" and "good" not in done.out:
            return f"{told}: the good run is not listed: {done.out[:200]!r} {done.err[:200]!r}"
        if not (done.out + done.err).replace("\n", "").isprintable():
            return f"{told}: {words[0]}: control characters"
        if done.memory > 2**30:
            return f"{told}: {words[0]}: {done.memory / 2**20:.0f} MiB"
    page = folder / "r.html"
    if page.is_file() and ("0.0987654321" in page.read_text() or (folder / "ran").exists()):
        return f"{told}: a file outside is shown"
    return ""


if __name__ == "__main__":
    sys.exit(main("hostile_folders"))
