"""Recipes that were changed at random, and bombs: valid, or one line of bounded length in a tenth of a second.

nox -s torture -- recipes
"""

import random
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.config.recipe import load
from support.torture import called, main

VALUES = [
    "", "null", "true", "-1", "0", "1e999", ".nan", "-.inf", "9" * 400, "9" * 5000, "0x10", "1_0", "[]", "{}", "[[]]",
    "'\\0'", '"\\e[2J"', '"a\\nb"', "²", "٣", "!!python/object/apply:os.system [x]", "!!set {a}", "*a", "&a [*a]",
    "unet", "{name: unet, width: 8}", "{from: last}", "[1, 2, 3]", "../../x", "x" * 3000, "1" + "_1" * 999, "{name: }",
    "2024-01-01", "0o17", "1:30", "~", "<<: 1", "\ud7ff", "[adamw, sgd]", "{name: cnn, layers: [conv]}", "1e-3",
]  # fmt: skip
LETTERS = "\0\x1b\t\n :-[]{},#&*!|>'\"%@`²x0\u202e\ufeff😀"
BOMBS = [
    lambda n: "[" * n,
    lambda n: "{a: " * n,
    lambda n: "".join(f"k{i}: 1\n" for i in range(n)),
    lambda n: "callbacks: [" + "1," * n + "]",
    lambda n: "k" * n + ": 1",
    lambda n: "seed: 1" + "_1" * n,
    lambda n: "task: {name: classification, network: {name: cnn, layers: [" + "conv 8," * n + "]}}\ndata: digits",
    lambda n: "task: {name: classification, network: {name: resnet, blocks: [" + "1," * n + "]}}\ndata: digits",
    lambda n: "a: &a [x]\n" + "".join(f"{i}: &b{i} [*a, *a]\n" for i in range(n)),
    lambda n: "seed: " + "9" * n,
    lambda n: "name: " + "a" * n,
    lambda n: "- " * n,
    lambda n: "? " * n,
    lambda n: "#" * n,
    lambda n: "a: |\n" + " x\n" * n,
    lambda n: "data: {name: digits, batch_size: " + "-" * n + "1}",
    lambda n: "data: {name: " + "digits" * n + "}",
    lambda n: "data: {name: digits, augment: [" + "{name: flip}," * n + "]}",
]


@cache
def shipped() -> list[str]:
    """The texts of the recipes of the package."""
    return [path.read_text() for path in sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))]


def changed(chance: random.Random) -> str:
    """A shipped recipe with one to three changes."""
    text = chance.choice(shipped())
    for _ in range(chance.randint(1, 3)):
        lines = text.splitlines()
        at = chance.randrange(len(lines))
        kind = chance.randrange(6)
        if kind == 0 and ":" in lines[at]:
            lines[at] = f"{lines[at].split(':')[0]}: {chance.choice(VALUES)}"
        elif kind == 1:
            del lines[at]
        elif kind == 2:
            lines.insert(at, chance.choice(lines))
        elif kind == 3:
            place = chance.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + chance.choice(LETTERS) + lines[at][place:]
        elif kind == 4:
            lines[at] = lines[at][: len(lines[at]) // 2]
        else:
            words = lines[at].split()
            if words:
                lines[at] = lines[at].replace(chance.choice(words), chance.choice(VALUES), 1)
        text = "\n".join(lines) + "\n"
    return text


def attack(chance: random.Random, folder: Path) -> str:
    bomb = chance.random() < 0.02
    make = chance.choice(BOMBS) if bomb else None
    text = make(chance.choice([1000, 40_000, 300_000]))[:999_000] if make else changed(chance)
    path = folder / "r.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    before = set(sys.modules)
    done = called(load, path)
    if fault := done.fault(0, 2):
        return f"{fault}: {text[:80]!r}"
    if done.status == 2 and not (done.err.count("\n") == 1 and len(done.err) < 2001 and done.err[:-1].isprintable()):
        return f"{done.err.count(chr(10))} lines, {len(done.err)} letters: {done.err[:200]!r}"
    if done.status == 2 and "r.yaml" not in done.err:
        return f"the file is not named: {done.err[:200]}"
    if foreign := {name for name in set(sys.modules) - before if name.split(".")[0] in ("os_", "antigravity", "this")}:
        return f"imported {foreign}"
    if bomb and done.seconds > 0.1:
        return f"{done.seconds:.2f} s: {text[:60]!r} of {len(text)} letters: {done.err[:80]}"
    return ""


if __name__ == "__main__":
    sys.exit(main("recipes"))
