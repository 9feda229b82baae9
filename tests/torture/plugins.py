"""Broken distributions of 46 kinds: each is named, every other part works, and what is refused is one line.

nox -s torture -- plugins
"""

import contextlib
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.cli import dispatch
from genmods.config import registry
from support.torture import Chance, Command, Done, main
from support.torture_runs import fit

CLASS = "from genmods.networks.base import Network\n\n\nclass Net(Network):\n"
CONSTRUCTOR = "    def __init__(self, {setting}):\n        {body}\n"
POINT = b"[genmods.network]\nNAME = NAME:Net\n"
ERRORS = ["KeyError('a')", "TypeError()", "AttributeError('\\x1b[2J')", "NotImplementedError()", "RecursionError('a')"]
ERRORS += ["MemoryError()", "ValueError('a\\nb')", "AssertionError()", "OSError(2, 'no')", "StopIteration()"]
ERRORS += ["SystemExit(0)", "UnicodeDecodeError('utf-8', b'x', 0, 1, 'no')", "ExceptionGroup('a', [KeyError()])"]


def net(before: str = "", setting: str = "width: int = 3", body: str = "super().__init__()") -> str:
    """The source of a network."""
    return before + CLASS + CONSTRUCTOR.format(setting=setting, body=body)


SOURCES = {  # name: the text of the module
    "raises on import": net("raise {error}\n"),
    "leaves on import": net("raise SystemExit(0)\n"),
    "is interrupted on import": net("raise KeyboardInterrupt\n"),
    "recurses on import": net("def f(): f()\nf()\n"),
    "imports what is not there": net("import nowhere_at_all\n"),
    "imports a name that is not there": net("from genmods.networks import nothing_of_that_name\n"),
    "prints and warns on import": net("import warnings\nprint('\\x1b[2J')\nwarnings.warn('a')\n"),
    "replaces a function": net("import genmods.core.checkpoint as c\nc.load = lambda path: {{}}\n"),
    "replaces a method": net("from genmods.config.recipe import Recipe\nRecipe.plain = lambda self: {{}}\n"),
    "replaces a built-in part": net("from genmods.config.builtins import BUILTINS as b\nb['network']['unet'] = 3\n"),
    "replaces a kind": net("from genmods.config import builtins\nbuiltins.KINDS['network'] = 'builtins:object'\n"),
    "removes a module": net("import sys\nsys.modules['genmods.core.errors'] = None\n"),
    "raises when built": net(body="raise {error}"),
    "leaves when built": net(body="raise SystemExit(0)"),
    "is interrupted when built": net(body="raise KeyboardInterrupt"),
    "forgets its parent": net(body="self.x = 1"),
    "is something else when built": CLASS + "    def __new__(cls, width: int = 3): return 5\n",
    "is no network": "class Net:\n    pass\n",
    "is a number": "Net = 3\n",
    "is a function": "def Net(width: int = 3): pass\n",
    "makes its names": "def __getattr__(name):\n    raise {error}\n",
    "is not Python": "class Net(:\n",
    "has a NUL": net() + "\0",
    "is latin-1": net(),
    "is deep": "x = " + "(" * 3000 + ")" * 3000 + "\n" + net(),
    "is a long sign": "x = " + "-" * 50_000 + "1\n" + net(),
    "inherits from itself": "class Net(Net):\n    def __init__(self, *args, **kwargs): super().__init__(**kwargs)\n",
    "imports itself": "from NAME import Net\n",
    "has an enormous default": net(setting="width: int = 9**9**9"),
    "has a long default": net(setting="width: str = 'x' * 10**10"),
    "has half a hint": net(setting="width: 'int[' = 3"),
    "has a hint of itself": net("A = 'A'\n", setting="width: A = 3"),
    "has no hints": net(setting="width, *args, **kwargs"),
    "is a device": "",
    "is a folder": "",
    "is a pipe": "",
}  # fmt: skip
POINTS = {  # name: the text of entry_points.txt
    "has garbage": b"[genmods.network]\n\0garbage\n[[[\n",
    "is not UTF-8": b"[genmods.network]\n\xff\xfe = NAME:Net\n",
    "has half an entry": b"[genmods.network]\nlonely\n",
    "names no class": b"[genmods.network]\nNAME = NAME\n",
    "is relative": b"[genmods.network]\nNAME = ..NAME:Net\n",
    "names a function of the system": b"[genmods.network]\nNAME = os:system\n",
    "takes a built-in name": b"[genmods.network]\nunet = NAME:Net\n",
    "takes the name of another": b"[genmods.network]\ngood = NAME:Net\n",
    "is of no kind": b"[genmods.netwrok]\n\x1b[2J = NAME:Net\n",
    "adds callbacks to all trainers": b"[lightning.pytorch.callbacks_factory]\nx = NAME:make\n",
}
KINDS = [*SOURCES, *POINTS]
METADATA = [None, b"", b"\xff\xfe", b"Name\n", b"\0" * 99, b"Metadata-Version: 2.1\nName: \x1b[2J\nVersion: 1.0\n"]
FACTORIES = [
    "def make(): raise KeyError\n",
    "import nowhere_at_all\ndef make(): return []\n",
    "def make(): return 'x'\n",
    "import lightning.pytorch as pl\nclass C(pl.Callback):\n    def on_train_batch_start(self, t, m, *a):\n"
    "        [p.data.fill_(0) for p in m.parameters()]\ndef make(): return [C()]\n",
]


def distribution(site: Path, name: str, points: bytes, source: str, metadata: bytes | None) -> Path:
    """Install a distribution of one module; returns the module's path."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_bytes(points.replace(b"NAME", name.encode()))
    if metadata is not None:
        (info / "METADATA").write_bytes(metadata)
    path = site / f"{name}.py"
    path.write_text(source.replace("NAME", name).replace("{{}}", "{}"))
    return path


def install(site: Path, kind: str, chance: random.Random) -> None:
    """Install a good distribution, and a broken one of a kind."""
    named = b"Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n"
    distribution(site, "good", POINT, net(), named % b"good")
    source = SOURCES.get(kind, net()).replace("{error}", chance.choice(ERRORS))
    if "trainers" in kind:
        source = chance.choice(FACTORIES)
    metadata = chance.choice(METADATA) if chance.random() < 0.15 and kind in SOURCES else named % b"broken"
    path = distribution(site, "broken", POINTS.get(kind, POINT), source, metadata)
    if kind == "is latin-1":
        path.write_bytes(b"x = '\xe9'\n" + path.read_bytes())
    if kind in ("is a device", "is a folder", "is a pipe"):
        path.unlink()
        {"is a device": lambda: path.symlink_to("/dev/zero"), "is a pipe": lambda: os.mkfifo(path)}.get(
            kind, lambda: (site / "broken").mkdir()
        )()


def in_turn(*calls) -> int:
    """Call each in this process and print its status on a line of its own."""
    for call in calls:
        print(f"status {call()}", flush=True)
    return 0


def built(name: str) -> int:
    """Build a network; the status is that of a command."""
    from genmods.config.build import create
    from genmods.core.errors import UserError

    try:
        create("network", name)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"interrupted {stop}", file=sys.stderr)
        return 130
    return 0


def statuses(done: Done) -> list[int]:
    return [int(line[7:]) for line in done.out.splitlines() if line.startswith("status ")]


def attack(chance: Chance, folder: Path) -> str:
    kind, site = chance.deal(KINDS), folder / "site"
    install(site, kind, chance)

    def prepare() -> None:
        sys.path.insert(0, str(site))
        registry._plugins.cache_clear()

    def commands() -> int:
        words = [["list", "network"], ["show", "network", "unet"], ["check", "cnn"], ["show", "network", "broken"]]
        return in_turn(*(lambda each=each: dispatch(each) for each in words))

    if fault := _told(Command(commands, folder, prepare).wait(20), kind):
        return f"{kind}: {fault}"
    done = Command(lambda: in_turn(lambda: built("good"), lambda: built("unet")), folder, prepare).wait(20)
    if fault := done.fault(0) or ("" if statuses(done) == [0, 0] else f"good parts: {done.out} {done.err}"):
        return f"{kind}: {fault}"
    lasts = kind in ("has an enormous default", "has a long default")  # its import, which is code of the plug-in
    if not lasts and (
        fault := _used(Command(lambda: in_turn(lambda: built("broken")), folder, prepare).wait(20), kind)
    ):
        return f"{kind}: {fault}"
    if "trainers" in kind and (fault := _trained(folder, prepare)):
        return f"{kind}: {fault}"
    done = Command(lambda: dispatch(["list", "network", "--no-plugins"]), folder, prepare).wait(20)
    others = {"good", "broken"} & set((done.out + done.err).split())
    return done.fault(0) or (f"{kind}: with --no-plugins: {others}" if others else "")


def _told(done: Done, kind: str) -> str:
    """What is wrong with `list`, `show`, `check` and `show` of the broken part."""
    if fault := done.fault(0):
        return fault
    found = statuses(done)
    if found[:3] != [0, 0, 0] or len(found) != 4 or found[3] not in (0, 2):
        return f"statuses {found}: {done.err[-300:]}"
    if not {"unet", "good"} <= set(done.out.split()):
        return f"list leaves out other parts: {done.out[-200:]}"
    if not (done.out + done.err).replace("\n", "").replace("\t", "").isprintable():
        return "control characters"
    if (kind in POINTS or found[3] == 2) and "broken" not in done.err:
        return f"not named: {done.err[-300:]}"
    lines = done.err.splitlines()
    return f"{len(lines)} lines: {lines}" if len(lines) != len(set(lines)) or len(lines) > 3 else ""


def _used(done: Done, kind: str) -> str:
    """What is wrong with building the broken part."""
    if fault := done.fault(0):
        return fault
    (status,) = statuses(done) or (None,)
    if status not in (0, 2, 130) or (status == 130) != ("interrupted" in kind):
        return f"built with {status}: {done.err[-300:]}"
    if status == 0:
        return "used as if all were well" if kind.startswith(("replaces", "raises", "leaves", "is no network")) else ""
    return "" if "broken" in done.err else f"not named: {done.err[-300:]}"


def _trained(folder: Path, prepare) -> str:
    """What is wrong with a run beside a distribution that adds callbacks to Lightning's Trainer."""
    done = fit("c", folder, "--trainer.max_steps=4", prepare=prepare).wait(120)
    with contextlib.suppress(StopIteration):
        from genmods.core import checkpoint as files

        content = files.load(next(folder.glob("runs/*/*/checkpoints/last.ckpt")))
        if not any(weight.any() for weight in content["state_dict"].values()):
            return "the callback changed the weights"
    return done.fault(0) or ("" if "broken" in done.err else f"not named: {done.err}")


if __name__ == "__main__":
    sys.exit(main("plugins"))
