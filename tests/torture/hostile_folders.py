"""Run folders that somebody made to hurt: `runs`, `report`, `generate` and `fit` read them as far as they can be read.

nox -s torture -- hostile_folders
"""

import os
import random
import sys
from html.parser import HTMLParser
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.torture import Chance, command, copied, main
from support.torture_damage import damage
from support.torture_runs import trained

TEXTS = [
    b"", b"\0" * 99, b"null", b"[1]", b"{", b"[" * 10**5, b'{"a":' * 10**4, b"9" * 9999, b'{"step": NaN}', b"\xff\xfe",
    b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (k, k, k - 1, k - 1) for k in range(98, 118)),
    b"step,val/loss\n0,1\n1," + b"9" * 10**6 + b"\n", b"a," * 10**5 + b"\n1\n" * 9, b"step\n-1\n1e999\nnan\n",
    b"name: !!python/object/apply:os.system [touch ran]\n", b"<script>document.title=1</script>", b"\x1b[2J\n",
    b'{"state": "running", "step": 1e400}', b'{"state": [], "step": {}}', b"=1+1\n", b"GIF89a", b"PK\x03\x04" * 99,
]  # fmt: skip


KINDS = [
    "text",
    "text",
    "damage",
    "link",
    "pipe",
    "folder",
    "gone",
    "loop",
    "large",
    "device",
    "names",
    "link to a folder",
]
MARKUP = ["</script><script>document.title=1</script>", "<img src=x onerror=alert(1)>", "{{data}}", "<!--<script>"]
MARKUP += ["$data", "${title}", "&lt;svg onload=x&gt;", "]]>", "\x1b[2J", "\u202egnp", "=1+1", "'\"`", "\u2028", "-n"]


class Tags(HTMLParser):
    """The tags of a page, and its attributes that run a script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags += [tag, *(name for name, value in attrs if name.startswith("on") or "script:" in (value or ""))]


def spoiled(run: Path, kind: str, chance: random.Random, folder: Path) -> str:
    """Spoil one file of the run; returns what was done."""
    path = chance.choice(sorted(p for p in run.rglob("*") if p.is_file() and p.suffix != ".ckpt"))
    if kind == "damage" and path.stat().st_size:
        damage(path, chance)
    elif kind == "text":
        path.write_bytes(chance.choice(TEXTS))
    elif kind == "names":  # words and numbers of the file become markup
        text = path.read_text(errors="replace")
        words = [word for word in set(text.replace(",", " ").split()) if word.isalnum()] or ["a"]
        path.write_text(text.replace(chance.choice(sorted(words)), chance.choice(MARKUP)), errors="surrogatepass")
    else:
        path.unlink()
        if kind == "link":
            path.symlink_to(folder / "secret")
        elif kind == "link to a folder":
            path.symlink_to(folder)
        elif kind == "device":
            path.symlink_to(chance.choice(["/dev/zero", "/dev/urandom", "/dev/stdin"]))
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


def attack(chance: Chance, folder: Path) -> str:
    kind, name = chance.deal(KINDS), chance.choice(["c", "d"])
    called = chance.choice(["run", *(word for word in MARKUP if "/" not in word)]) if kind == "names" else "run"
    run = copied(trained(name) / "run", folder / "runs" / name / called)
    copied(trained(name) / "run", folder / "runs" / name / "good")
    (folder / "recipe.yaml").write_text((trained(name) / "recipe.yaml").read_text())
    (folder / "secret").write_text('{"test/loss": 0.0987654321}')
    told = f"{name} {spoiled(run, kind, chance, folder)}"
    used = [["generate", "--n", "2", "--out", "o"]] if name == "d" else [["export", "--out", "m.safetensors"]]
    used.append(["fit", "--config", "recipe.yaml", "--quiet", "--trainer.max_steps=21"])
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
        large = 2 * 3 * 10**9 if kind == "large" else 0  # a gigabyte of metrics is read
        if done.memory > 2**30 + large:
            return f"{told}: {words[0]}: {done.memory / 2**20:.0f} MiB"
    return _page(folder / "r.html", trained(name) / "run" / "report.html", folder, told)


def _page(page: Path, good: Path, folder: Path, told: str) -> str:
    """What is wrong with the report page of the run, compared with that of the good one."""
    if (folder / "ran").exists():
        return f"{told}: code was run"
    if not page.is_file():
        return ""
    text = page.read_text()
    if "0.0987654321" in text:
        return f"{told}: a file outside is shown"
    if Tags(text).tags != Tags(good.read_text()).tags or "Content-Security-Policy" not in text:
        return f"{told}: other tags {Tags(text).tags}"
    return ""


if __name__ == "__main__":
    sys.exit(main("hostile_folders"))
