"""Distributions that are broken in any way: each is named, and every other part works. One process for all of them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CLASS = "from genmods.networks.base import Network\n\n\nclass Net(Network):\n    def __init__(self, width: int = 3):\n"
BUILT = {
    "key": "KeyError('a')",
    "type": "TypeError('a')",
    "attribute": "AttributeError('a')",
    "unfinished": "NotImplementedError()",
    "exits": "SystemExit(0)",
    "recursion": "RecursionError('deep')",
    "memory": "MemoryError()",
    "assertion": "AssertionError()",
    "value": "ValueError('the width is odd')",
    "control": "ValueError('\\x1b[2J')",
}
IMPORTED = {
    "replaces_function": "import genmods.core.checkpoint as c\nc.load = lambda path: {}\n",
    "replaces_method": "from genmods.config.recipe import Recipe\nRecipe.plain = lambda self: {}\n",
    "replaces_table": "from genmods.config.builtins import BUILTINS\nBUILTINS['network']['unet'] = 'a:B'\n",
    "removes_module": "import sys\nsys.modules['genmods.core.tamper'] = None\n",
    "interrupts": "raise KeyboardInterrupt\n",
    "raises": "raise KeyError('a')\n",
    "leaves": "raise SystemExit(0)\n",
}
METADATA = {
    "garbage": b"[genmods.network]\n\0garbage\n[[[\n",
    "bytes": b"[genmods.network]\nx = \xff\xfe:Net\n",
    "no_value": b"[genmods.network]\nlonely\n",
    "dashes": b"[genmods.network]\ndashes = dashes:Net\n",
    "nul": b"[genmods.network]\nnul = nul:Net\n",
    "escape": b"[genmods.nothing]\n\x1b[2J = a:B\n",
    "device": b"[genmods.network]\ndevice = device:Net\n",
    "pipe": b"[genmods.network]\npipe = pipe:Net\n",
    "parents": b"[genmods.network]\nparents = parents:Net\n",
}
SOURCES = {
    "dashes": "-" * 50_000 + "1\n",
    "nul": "x = '\0'\n",
    "parents": "class A(B):\n    pass\n\n\nclass B(A):\n    pass\n\n\nNet = 0\n\n\nclass Net(A):\n    pass\n",
}

USE = """
import sys
from genmods.config import registry
from genmods.config.build import create
from genmods.core.errors import UserError
print("known", "unet" in registry.names("network"), "good" in registry.names("network"))
for name in sys.argv[1:]:
    try:
        create("network", name)
        print("built", name)
    except (UserError, KeyboardInterrupt) as error:
        print("refused", name, error)
"""


def distribution(site, name, points, source):
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(points)
    (site / f"{name}.py").write_text(source)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    for name, error in BUILT.items():
        points = f"[genmods.network]\n{name} = {name}:Net\n".encode()
        distribution(site, name, points, f"{CLASS}        raise {error}\n")
    for name, start in IMPORTED.items():
        points = f"[genmods.network]\n{name} = {name}:Net\n".encode()
        distribution(site, name, points, f"{start}{CLASS}        super().__init__()\n")
    for name, points in METADATA.items():
        distribution(site, name, points, SOURCES.get(name, ""))
    (site / "device.py").unlink()
    (site / "device.py").symlink_to("/dev/zero")
    (site / "pipe.py").unlink()
    os.mkfifo(site / "pipe.py")
    (site / "none-1.0.dist-info").mkdir()
    (site / "none-1.0.dist-info" / "entry_points.txt").write_bytes(b"[genmods.network]\nx = y:Z\n")
    distribution(site, "factory", b"[lightning.pytorch.callbacks_factory]\nx = factory:make\n", "raise KeyError\n")
    good = f"{CLASS}        super().__init__()\n"
    distribution(site, "good", b"[genmods.network]\ngood = good:Net\n", good)
    return site


def run(site, *arguments):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, timeout=300)


@pytest.fixture(scope="module")
def used(site):
    return run(site, "-c", USE, *BUILT, *IMPORTED, "good")


def test_every_other_part_works(used):
    lines = used.stdout.splitlines()
    assert used.returncode == 0, used.stderr
    assert lines[0] == "known True True" and lines[-1] == "built good"


@pytest.mark.parametrize("name", [*BUILT, *IMPORTED])
def test_a_part_that_cannot_be_used_is_one_line_with_its_name(used, name):
    (line,) = [line for line in used.stdout.splitlines() if line.split()[1] == name]
    assert line.startswith("refused") and ("odd" in line or "x1b" in line or f"'{name}'" in line), line
    replaces = name in ("replaces_function", "replaces_method", "removes_module")
    assert replaces == ("its import replaces genmods." in line)


@pytest.mark.parametrize("name", METADATA)
def test_a_distribution_that_cannot_be_read_is_named_once(used, name):
    lines = [line for line in used.stderr.splitlines() if f"'{name}" in line]
    assert len(lines) == 1 and "ignored" in lines[0], used.stderr
    assert "Traceback" not in used.stderr and "\x1b" not in used.stderr


def test_without_plugins_nothing_of_others_is_read(site):
    result = run(site, "-m", "genmods", "list", "network", "--no-plugins")
    assert result.returncode == 0
    assert "unet" in result.stdout and "good" not in result.stdout


FACTORY = """
from genmods.config import registry
registry.guard_entry_points()
from genmods.core.lightning_internals import without_external_callbacks
from lightning.pytorch import Trainer
registry.report_external_callbacks()
with without_external_callbacks():
    Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
"""


def test_callbacks_that_lightning_would_add_are_named_and_left_out(site):
    result = run(site, "-c", FACTORY)
    assert result.returncode == 0, result.stderr
    assert "the callbacks of the distribution 'factory' are ignored" in result.stderr
