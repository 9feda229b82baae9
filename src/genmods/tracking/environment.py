"""The environment of a run: versions, git state, hardware, command line."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("genmods", "torch", "lightning", "torchvision", "torchmetrics", "wandb", "numpy")


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command in `folder`; None if it fails. The index is not locked, and no monitor is started."""
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit, branch and uncommitted changes of the git checkout of a folder; None outside of a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return {
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
    }


def _checkouts() -> dict[str, dict[str, Any] | None]:
    """The git state of the working directory, and of genmods itself if it runs from a checkout."""
    source = Path(__file__)
    tracked = _git(source.parent, "ls-files", "--error-unmatch", source.name)
    return {"project": git_state(Path.cwd()), "genmods": git_state(source.parent) if tracked else None}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, and accelerators by name."""
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "devices": devices,
    }


def _program() -> str:
    program = Path(sys.argv[0])
    return f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name


def describe() -> dict[str, Any]:
    """The whole environment as plain data, for a configuration or `environment.json`."""
    return {
        "packages": package_versions(),
        "git": _checkouts(),
        "hardware": hardware(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "command": f"{_program()} {shlex.join(sys.argv[1:])}".strip(),
    }
