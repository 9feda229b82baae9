"""The lock of a folder ends with its process, however it ends, and what dead processes left is removed."""

import os
import subprocess
import sys

import pytest

from genmods.core.errors import UserError
from genmods.core.locking import owned

HOLD = """
import os, sys, time
from pathlib import Path
from genmods.core.locking import owned
with owned(Path(sys.argv[1])):
    (Path(sys.argv[1]) / f".last.ckpt.{os.getpid()}.part").write_bytes(b"half")
    if not os.fork():
        print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_owner_is_killed(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"process {owner.pid} on .* is writing to this folder"), owned(tmp_path):
            pass
        owner.kill()
        owner.wait()
        with owned(tmp_path):  # its forked worker lives on
            assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    finally:
        os.killpg(owner.pid, 9)
        owner.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_what_others_are_writing_stays(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    parts = [f".a.{dead.pid}.part", f".a.{os.getppid()}.part", ".a.part", "a.part"]
    for name in parts:
        (tmp_path / "checkpoints" / name).touch()
    with owned(tmp_path):
        assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == sorted(parts[1:])


def test_the_lock_is_not_written_through_a_link(tmp_path):
    (tmp_path / "best.ckpt").write_text("weights")
    (tmp_path / ".lock").symlink_to("best.ckpt")
    with pytest.raises(OSError), owned(tmp_path):
        pass
    assert (tmp_path / "best.ckpt").read_text() == "weights"
