"""The package alone: it imports only torch, and the script of its README runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import genmods.diffusion

FOLDER = Path(genmods.diffusion.__file__).parent


def run(code: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    ).stdout


def test_import_is_light():
    heavy = {"lightning", "torchvision", "wandb", "jsonargparse", "torchmetrics", "sklearn"}
    loaded = run("import sys, genmods.diffusion; print(' '.join({m.split('.')[0] for m in sys.modules}))").split()
    assert not heavy & set(loaded)


def test_readme_script():
    (script,) = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    assert sum(bool(line.strip()) for line in script.splitlines()) <= 20
    radius = float(run(script).split()[-1])
    assert abs(radius - 1) < 0.1


def test_files_are_short():
    for path in FOLDER.rglob("*.py"):
        assert len(path.read_text().splitlines()) < 300, path


def test_public_names_exist():
    assert all(hasattr(genmods.diffusion, name) for name in genmods.diffusion.__all__)
