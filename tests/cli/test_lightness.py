"""The light commands import none of the heavy packages, and run no file of the current folder."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from genmods.cli import COMMANDS, GROUPS
from genmods.config.shipped import shipped

HEAVY = ("torch", "lightning", "wandb", "torchvision", "torchmetrics", "numpy", "sklearn", "matplotlib", "jsonargparse")
CODE = """
import json, sys
from genmods.cli import dispatch
try:
    status = dispatch(sys.argv[1:])
except SystemExit as exit:
    status = exit.code
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""
RECIPE = next(iter(shipped()))
LIGHT = [
    ["--help"],
    ["--version"],
    *([command, "--help"] for command in COMMANDS),
    ["list"],
    ["list", "callback"],
    ["show", "network", "unet"],
    ["show", "optimizer", "adamw"],
    ["recipes"],
    ["fit", "--config", RECIPE, "--print_config"],
]


@pytest.mark.parametrize("command", LIGHT, ids=" ".join)
def test_nothing_heavy_is_imported(command):
    result = subprocess.run([sys.executable, "-c", CODE, *command], capture_output=True, text=True, timeout=300)
    status, modules = json.loads(result.stderr.splitlines()[-1])
    assert status == 0, result.stderr
    assert not set(HEAVY) & set(modules)


def test_every_command_is_in_one_group():
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(COMMANDS)


def test_check_imports_what_tasks_need_but_no_tracker():
    result = subprocess.run([sys.executable, "-c", CODE, "check", RECIPE], capture_output=True, text=True, timeout=300)
    status, modules = json.loads(result.stderr.splitlines()[-1])
    assert status == 0 and not {"wandb", "sklearn", "jsonargparse"} & set(modules), result.stderr[-300:]


def test_looking_at_runs_imports_nothing_heavy(tmp_path):
    folder = tmp_path / "runs/some/one"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("step,val/loss\n9,0.5\n")
    for command in (["runs", str(tmp_path)], ["report", str(folder)]):
        result = subprocess.run([sys.executable, "-c", CODE, *command], capture_output=True, text=True, timeout=300)
        status, modules = json.loads(result.stderr.splitlines()[-1])
        assert status == 0 and not set(HEAVY) & set(modules), result.stderr


@pytest.mark.parametrize(
    "package", ["genmods", "genmods.diffusion", "genmods.networks", "genmods.config.registry", "genmods.config.recipe"]
)
def test_the_packages_for_other_projects_need_no_trainer(package):
    code = f"import sys, {package}; print(*({{'lightning', 'torchvision', 'wandb', 'yaml'}} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert set(result.stdout.split()) <= ({"yaml"} if package == "genmods.config.recipe" else set())


def test_no_module_of_the_current_folder_is_run(tmp_path):
    for name in ("argparse", "yaml", "difflib", "ast", "importlib_metadata", "json", "dataclasses", "email"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger ran')")
    for command in (["--help"], ["list"], ["check", RECIPE], ["chekc"]):
        result = subprocess.run(
            [sys.executable, "-m", "genmods", *command], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert "stranger" not in result.stderr + result.stdout
        assert result.returncode == (2 if command == ["chekc"] else 0)
