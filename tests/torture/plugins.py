"""Broken distributions: each is named, everything else works, and nothing is said as if all were well.

nox -s torture -- plugins
"""

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.cli import dispatch
from support.torture import Command, main

CLASS = "from genmods.networks.base import Network\n\n\nclass Net(Network):\n    def __init__(self, width: int = 3):\n"
GOOD = f"{CLASS}        super().__init__()\n"
POINT = "[genmods.network]\n{name} = {name}:Net\n"
EXCEPTIONS = ["KeyError('a')", "TypeError()", "SystemExit(0)", "NotImplementedError()", "RecursionError('a')"]
EXCEPTIONS += ["MemoryError()", "ValueError('a\\nb')", "AssertionError()", "OSError(2, 'no')", "StopIteration()"]
SOURCES = [
    "raise {error}\n" + GOOD,
    f"{CLASS}        raise {{error}}\n",
    "def __getattr__(name):\n    raise {error}\n",
    "import nowhere_at_all\n" + GOOD,
    "from genmods.networks import nothing_of_that_name\n" + GOOD,
    "class Net:\n    pass\n",
    "Net = 3\n",
    "Net = None\n",
    "-" * 50_000 + "1\n",
    "x = '\0'\n",
    "def f(:\n",
    GOOD.replace("int = 3", "int = 9**9**9"),
    GOOD.replace("int = 3", "str = 'x' * 10**10"),
    GOOD.replace("int = 3", "'int['"),
    GOOD.replace("int = 3", "list[list[list[int]]]"),
    GOOD.replace("int = 3", "'Net' = 1"),
    GOOD.replace("int = 3", "object = object()"),
    GOOD.replace("width: int = 3", "*args, **kwargs"),
    GOOD.replace("width: int = 3", "width"),
    GOOD.replace("(Network)", "(Network, metaclass=type)"),
    "import genmods.core.checkpoint as c\nc.load = lambda path: {{}}\n" + GOOD,
    "import genmods.config.registry as r\nr.entries = lambda kind: {{}}\n" + GOOD,
    "import sys\nsys.modules['genmods.core.errors'] = None\n" + GOOD,
    "import warnings, logging\nwarnings.warn('a')\nlogging.warning('b')\nprint('c')\n" + GOOD,
    GOOD,
]
METADATA = [
    "[genmods.network]\n\0garbage\n[[[\n",
    "[genmods.network]\nlonely\n",
    "[genmods.network]\n{name} = \n",
    "[genmods.network]\n{name} = {name}\n",
    "[genmods.network]\n{name} = {name}:Net.deeper\n",
    "[genmods.network]\n{name} = ..{name}:Net\n",
    "[genmods.network]\n{name} = nowhere.at.all:Net\n",
    "[genmods.network]\n{name} = os:system\n",
    "[genmods.network]\nunet = {name}:Net\n",
    "[genmods.nothing]\n\x1b[2J = a:B\n",
    "[genmods.network]\n\x1b[2J = {name}:Net\n",
    "[genmods.network]\n{name} = {name}:Net\n{name} = {name}:Other\n",
    "[lightning.pytorch.callbacks_factory]\nx = {name}:make\n",
    "[genmods.network]\n" + "x = {name}:Net\n" * 2000,
]


def distribution(site: Path, name: str, points: str, source: str, chance: random.Random) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    text = points.format(name=name).encode()
    (info / "entry_points.txt").write_bytes(text if chance.random() < 0.9 else text + b"\xff\xfe = a:B\n")
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    kind = chance.random()
    if kind < 0.85:
        (info / "METADATA").write_text(metadata)
    elif kind < 0.95:
        (info / "METADATA").write_bytes(chance.choice([b"", b"\xff\xfe", b"Name\n", b"\0" * 99]))
    (site / f"{name}.py").write_text(source.replace("{{}}", "{}").replace("{error}", chance.choice(EXCEPTIONS)))


def attack(chance: random.Random, folder: Path) -> str:
    site = folder / "site"
    points = chance.choice(METADATA) if chance.random() < 0.4 else POINT
    source = chance.choice(SOURCES)
    distribution(site, "broken", points, source, chance)
    distribution(site, "good", POINT, GOOD, random.Random(0))
    told = f"{points[:60]!r} {source.strip()[-60:]!r}"

    def prepare() -> None:
        sys.path.insert(0, str(site))

    def build(name: str) -> int:
        from genmods.config.build import create
        from genmods.core.errors import UserError

        try:
            create("network", name)
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    for words in (["list", "network"], ["show", "network", "unet"], ["check", "cnn"], ["show", "network", "broken"]):
        done = Command(words, folder, prepare).wait(20)
        if fault := done.fault(0, 2 if "broken" in words else 0):
            return f"{told}: {' '.join(words)}: {fault}"
        if words[0] == "list" and not {"unet", "good"} <= set(done.out.split()):
            return f"{told}: list leaves out other parts: {done.out[-200:]}"
        if not (done.out + done.err).replace("\n", "").replace("\t", "").isprintable():
            return f"{told}: {' '.join(words)}: control characters"
    for name, allowed in (("good", (0,)), ("unet", (0, 2)), ("broken", (0, 2))):
        done = Command(lambda name=name: build(name), folder, prepare).wait(20)
        if fault := done.fault(*allowed):
            return f"{told}: building {name}: {fault}"
        if done.status == 2 and "broken" not in done.err:
            return f"{told}: building {name}: not named: {done.err[:200]}"
    done = Command(lambda: dispatch(["list", "network", "--no-plugins"]), folder, prepare).wait(20)
    return done.fault(0) or ("with --no-plugins: listed" if "good" in done.out.split() else "")


if __name__ == "__main__":
    sys.exit(main("plugins"))
