"""Large pixel tensors in a scratch file: a full disk is one line, not the end of the process."""

import errno
import os

import pytest
import torch

from genmods.core.system import FullDisk, system_error
from genmods.data import allocation


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODS_CACHE", str(tmp_path))
    monkeypatch.setattr(allocation, "_SMALL", 0)
    monkeypatch.setattr(allocation, "free_memory", lambda: 0)
    return tmp_path


def test_a_scratch_file_is_a_tensor_and_has_its_space(on_disk, monkeypatch):
    reserved = []
    monkeypatch.setattr(
        allocation, "reserve", lambda file, size: reserved.append(os.posix_fallocate(file.fileno(), 0, size))
    )
    pixels = allocation.allocate((3, 2, 5), torch.int16)
    pixels[:] = torch.arange(30).view(3, 2, 5)
    assert pixels.sum() == 435 and pixels.dtype == torch.int16
    assert reserved == [None] and list(on_disk.iterdir()) == []


def test_a_full_disk_is_one_line_with_the_bytes_needed(on_disk, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(FullDisk) as error:
        allocation.allocate((1000,))
    assert "1,000 bytes are needed" in system_error(error.value) and str(on_disk) in system_error(error.value)
    assert list(on_disk.iterdir()) == []
