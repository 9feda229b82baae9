"""What the operating system refuses is one line: the file, what is needed and free, and what is kept."""

import errno
from pathlib import Path

import pytest
import torch

from genmods import cli
from genmods.callbacks import checkpoint as callback
from genmods.cli import dispatch
from genmods.core import checkpoint as files, system
from genmods.core.errors import UserError
from genmods.core.system import FullDisk, is_out_of_memory, system_error
from genmods.metrics.statistics import cached_statistics
from genmods.runs.folders import new_folder
from support.small_runs import CNN, classifier

pytestmark = pytest.mark.usefixtures("workplace")


def raising(error):
    def refuse(*_, **__):
        raise error

    return refuse


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EROFS, "Read-only file system", "runs/a"), "runs/a: Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "out: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (MemoryError(), "out of memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000 bytes."),
            "out of memory: 4,000,000 bytes were requested",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out of memory: 2.00 GiB were"),
    ],
)
def test_one_line(monkeypatch, capsys, error, line):
    monkeypatch.setattr(cli, "_dispatch", raising(error))
    assert dispatch([]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(line)


def test_other_errors_are_not_the_systems():
    assert system_error(ValueError("x")) is None and system_error(RuntimeError("shapes")) is None


def test_the_error_of_a_full_disk_has_the_bytes_needed_and_free(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    files.save({"a": torch.zeros(3)}, path)
    before = path.read_bytes()
    monkeypatch.setattr(files, "free", lambda place: (10, 5))
    monkeypatch.setattr(torch, "save", raising(RuntimeError("unexpected pos 12 vs 10")))
    with pytest.raises(FullDisk) as caught:
        files.save({"a": torch.zeros(1000)}, path)
    told = system_error(caught.value)
    assert told.startswith(f"{path}: No space left on device (4,000 bytes are needed, ") and "are kept" in told
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_file_without_a_name_in_its_error_has_one_in_the_line(workplace, capsys, monkeypatch):
    """An error of writing, unlike one of opening, does not know its file."""
    classifier(CNN, name="grown")
    monkeypatch.setattr(torch, "save", raising(OSError(errno.EFBIG, "File too large")))
    assert dispatch(["fit", "--config", "runs/grown.yaml", "--quiet"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("runs/grown/") and line.endswith(".ckpt: File too large")
    assert not list(Path("runs/grown").rglob("*.part"))


def test_the_free_space_is_checked_before_the_first_step(workplace, capsys, monkeypatch):
    classifier(CNN, name="no_room")
    monkeypatch.setattr(callback, "free", lambda place: (1000, 5))
    assert dispatch(["fit", "--config", "runs/no_room.yaml", "--quiet"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "a checkpoint requires about" in line and "1,000 are free; nothing was trained" in line


def test_a_figure_needs_no_cache():
    images = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    found = cached_statistics(Path("/proc/nowhere"), "pixels", images, lambda: torch.rand(4, 3))
    assert found.mean.shape == (3,)


@pytest.mark.parametrize("name", ["runs", "runs/broken"])
def test_a_link_to_a_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GENMODS_RUNS", str(tmp_path / "runs"))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to("nowhere")
    line = f"^{tmp_path / name}: a symbolic link to a folder that does not exist$"
    with pytest.raises(UserError, match=line), new_folder("broken"):
        pass


def test_runs_that_start_together_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODS_RUNS", str(tmp_path / "runs"))
    with new_folder("a") as first, new_folder("a") as second:
        assert first != second and first.parent == second.parent == tmp_path / "runs" / "a"
    assert not (tmp_path / "runs").exists()  # nothing was written to them


@pytest.mark.parametrize(
    "words",
    [
        "could not create a primitive",
        "could not execute a primitive",
        "std::bad_alloc",
        "x: Cannot allocate memory",
    ],
)
def test_every_allocator_has_one_line(words):
    """oneDNN, the C++ library and the system word it differently."""
    assert is_out_of_memory(RuntimeError(words))
    assert system_error(RuntimeError(words)).startswith("out of memory")


def test_what_oneDNN_cannot_do_is_not_put_down_to_memory():
    words = "could not create a primitive descriptor for a convolution forward propagation primitive"
    assert system_error(RuntimeError(words)) is None


@pytest.mark.parametrize("error", [ImportError("libx.so: failed to map"), SystemError("error return")])
def test_what_cannot_be_loaded_for_want_of_memory_is_one_line(monkeypatch, error):
    monkeypatch.setattr(system, "free_memory", lambda: 1 << 20)
    assert system_error(error).startswith("out of memory, 1,048,576 bytes are free")
    monkeypatch.setattr(system, "free_memory", lambda: 1 << 30)
    assert system_error(error) is None


def test_no_memory_to_ask_for_the_free_memory(monkeypatch):
    def none() -> int:
        raise MemoryError

    monkeypatch.setattr(system, "free_memory", none)
    assert system_error(MemoryError()) == "out of memory; try a smaller batch size"
