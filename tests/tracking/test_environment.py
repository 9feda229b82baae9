"""The git state of a run: of the user's project, read without touching its index."""

import os
import shutil
import subprocess

import pytest

from genmods.tracking.environment import describe, git_state

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with one commit, as the working directory."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (folder / "recipe.yaml").write_text("seed: 1\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], check=True)
    return folder


def test_the_commit_of_the_project_is_recorded(project):
    found = describe()["git"]["project"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert found == {"commit": head, "branch": "main", "changed": False}
    (project / "recipe.yaml").write_text("seed: 2\n")
    assert describe()["git"]["project"]["changed"]
    assert git_state(project.parent) is None


def test_the_index_is_not_written(project):
    """`git status` refreshes the index under a lock, which a killed run would leave behind."""
    os.utime(project / "recipe.yaml", (1, 1))
    index = project / ".git" / "index"
    before = index.read_bytes()
    assert git_state(project) is not None
    assert index.read_bytes() == before


def test_no_program_of_the_repository_is_started(project):
    monitor = project / "monitor"
    monitor.write_text("#!/bin/sh\ntouch started\n")
    monitor.chmod(0o755)
    subprocess.run(["git", "config", "core.fsmonitor", str(monitor)], check=True)
    assert git_state(project) is not None
    assert not (project / "started").exists()
