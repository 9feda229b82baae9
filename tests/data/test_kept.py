"""Decoded images are kept: nothing is decoded twice, and nothing that changed is taken from the cache."""

from __future__ import annotations

import os
import pickle
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genmods.data.decoding
import genmods.data.kept.files
from genmods.cli import dispatch
from genmods.core.memory import bytes_of
from genmods.data.decoding import decode_files, stored_files
from genmods.data.images import Images
from genmods.data.kept.pixels import in_memory
from genmods.data.module import ImageData, statistics
from genmods.data.preparation import Preparation
from genmods.data.sources.image_folder import ImageFolder

WISH = Preparation(size=(6, 5), channels=3)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8))


def aged(path: Path) -> Path:
    """A file that was last changed an hour ago."""
    then = time.time_ns() - 3600 * 10**9
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def files(tmp_path, kept):
    paths = [tmp_path / "photos" / f"{i}.bmp" for i in range(6)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        picture(i).save(path)
        aged(path)
    return paths


@pytest.fixture
def work(monkeypatch):
    """The files that are examined and decoded, in the order in which that happens."""
    done = {"examined": [], "decoded": []}
    examine, fill = genmods.data.decoding.examine, genmods.data.decoding._fill
    monkeypatch.setattr(
        genmods.data.decoding, "examine", lambda path, wish: done["examined"].append(path) or examine(path, wish)
    )
    monkeypatch.setattr(
        genmods.data.decoding, "_fill", lambda path, *rest: done["decoded"].append(path) or fill(path, *rest)
    )
    return done


def decoded(paths: list[Path], wish: Preparation = WISH) -> torch.Tensor:
    return in_memory(stored_files(paths, wish).pixels)


def directly(paths: list[Path]) -> torch.Tensor:
    """The same images by Pillow."""
    crops = [Image.open(path).resize((5, 6), Image.Resampling.BICUBIC, (1.75, 0, 9.25, 9)) for path in paths]
    return torch.stack([torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1) for crop in crops])


def test_the_second_start_neither_hashes_nor_decodes(files, work):
    first = decoded(files)
    assert sorted(work["examined"]) == sorted(work["decoded"]) == files and torch.equal(first, directly(files))
    work["examined"].clear(), work["decoded"].clear()
    assert torch.equal(decoded(files), first) and torch.equal(decoded(files[::-1]), first.flip(0))
    assert work == {"examined": [], "decoded": []}


def in_place(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)


def replaced(path: Path, content: bytes) -> None:
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize("keeps_times", [False, True])
@pytest.mark.parametrize("write", [in_place, replaced])
def test_a_file_of_equal_size_with_other_content_is_seen(files, work, write, keeps_times):
    decoded(files)
    before, state = files[2].stat().st_size, files[2].stat()
    picture(77).save(files[2].with_suffix(".tmp"), "bmp")
    write(files[2], files[2].with_suffix(".tmp").read_bytes())
    files[2].with_suffix(".tmp").unlink()
    if keeps_times:
        os.utime(files[2], ns=(state.st_atime_ns, state.st_mtime_ns))
    assert files[2].stat().st_size == before
    work["decoded"].clear()
    assert torch.equal(decoded(files), directly(files))
    assert work["decoded"] == [files[2]], "only the changed file is decoded"


def test_a_touched_file_is_hashed_and_not_decoded(files, work):
    first = decoded(files)
    work["examined"].clear(), work["decoded"].clear()
    then = files[4].stat().st_mtime_ns - 10**9
    os.utime(files[4], ns=(then, then))
    assert torch.equal(decoded(files), first) and work == {"examined": [files[4]], "decoded": []}
    assert torch.equal(decoded(files), first) and work["examined"] == [files[4]]


def test_a_young_file_is_hashed_at_each_start(files, work):
    os.utime(files[1])
    decoded(files)
    for _ in range(2):
        work["examined"].clear(), work["decoded"].clear()
        decoded(files)
        assert work == {"examined": [files[1]], "decoded": []}


def test_a_file_that_was_young_when_it_was_hashed_has_no_entry(files, work, monkeypatch):
    """It may have changed again within the resolution of its time."""
    os.utime(files[1])
    decoded(files)
    now = time.time_ns
    monkeypatch.setattr(genmods.data.kept.files.time, "time_ns", lambda: now() + 60 * 10**9)
    work["examined"].clear()
    decoded(files)
    assert work["examined"] == [files[1]]


def test_images_that_commands_read_are_not_kept(files, kept, caplog):
    assert torch.equal(decode_files(files, WISH).pixels, directly(files))
    assert not kept.exists() and not caplog.records


def test_another_place_or_name_has_the_same_content(files, work, tmp_path):
    first = decoded(files)
    shutil.copytree(files[0].parent, tmp_path / "copy")
    twice = [*files, *(tmp_path / "copy" / path.name for path in files)]
    work["decoded"].clear()
    assert torch.equal(decoded(twice), torch.cat([first, first])) and not work["decoded"]


def test_preparations_are_apart(files):
    wide = Preparation(size=(4, 12), channels=1, fit="pad", background="black")
    first, other = decoded(files), decoded(files, wide)
    assert torch.equal(decoded(files), first) and torch.equal(decoded(files, wide), other)
    white = decoded(files, Preparation(size=(4, 12), channels=1, fit="pad", background="white"))
    assert other[:, :, :, 0].max() == 0 and white[:, :, :, 0].min() == 255


def test_a_limit_of_pixels_applies_to_known_files(files):
    decoded(files)
    found = stored_files(files, Preparation(size=(6, 5), channels=3, max_pixels=50))
    assert not found.good.any() and "must have at most 50 pixels, got 11 x 9" in found.broken[0]


def flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 64
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [
    lambda path: flipped(path, -1), lambda path: flipped(path, path.stat().st_size // 2), lambda path: flipped(path, 3),
    lambda path: path.write_bytes(path.read_bytes()[:-7]), lambda path: path.write_bytes(b""), Path.unlink,
])  # fmt: skip
@pytest.mark.parametrize("which", ["*/*.npy", "*/*.npz", "files/*.npz"])
def test_a_damaged_cache_is_made_again(files, kept, damage, which):
    first = decoded(files)
    (path,) = (path for path in kept.glob(which) if which.startswith("files") or path.parent.name != "files")
    damage(path)
    assert torch.equal(decoded(files), first)
    made = {path: path.read_bytes() for path in kept.rglob("*.np?")}
    assert torch.equal(decoded(files), first) and made == {path: path.read_bytes() for path in made}


def test_a_damaged_image_alone_is_decoded_again(files, kept, work):
    first = decoded(files)
    flipped(next(kept.glob("*/*.npy")), -1)
    work["decoded"].clear()
    assert torch.equal(decoded(files), first) and work["decoded"] == [files[-1]]


def test_a_growing_folder_has_one_pack(files, kept, work):
    for n in (2, 4, 6):
        decoded(files[:n])
    assert sorted(work["decoded"]) == files and len(list(kept.glob("*/*.npy"))) == 1
    decoded(files[:3])
    assert len(list(kept.glob("*/*.npy"))) == 1 and not list(kept.rglob("*.part"))


def test_broken_files_are_reported_each_time_and_copy_nothing(files, kept):
    content = files[3].read_bytes()
    files[3].write_bytes(content[:-20])
    for _ in range(2):
        found = stored_files(files, WISH)
        assert found.good.tolist() == [True] * 3 + [False] + [True] * 2 and str(files[3]) in found.broken[0]
        times = {path: path.stat().st_mtime_ns for path in kept.glob("*/*.npy")}
    stored_files(files, WISH)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    shutil.copy(files[3], files[3].with_name("again.bmp"))
    both = stored_files([files[3], files[3].with_name("again.bmp")], WISH).broken
    assert [str(files[3]) in both[0], "again.bmp" in both[1]] == [True, True]


def test_two_runs_at_once_decode_each_file_once(files, work):
    results = []
    runs = [threading.Thread(target=lambda: results.append(decoded(files))) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(results) == 4 and all(torch.equal(result, directly(files)) for result in results)
    assert sorted(work["decoded"]) == files


def test_a_file_that_changes_while_it_is_read_is_not_kept(files, monkeypatch):
    fill = genmods.data.decoding._fill

    def changing(path, *rest):
        if path == files[0]:
            picture(55).save(path)
        return fill(path, *rest)

    old = files[0].read_bytes()
    monkeypatch.setattr(genmods.data.decoding, "_fill", changing)
    decoded(files)
    monkeypatch.setattr(genmods.data.decoding, "_fill", fill)
    files[0].write_bytes(old)
    assert torch.equal(decoded(files), directly(files))


def test_without_a_writable_cache_a_run_continues(files, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENMODS_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        caplog.clear()
        assert torch.equal(decoded(files), directly(files))
        assert [record.getMessage().count("\n") for record in caplog.records] == [0]
        assert "decoded images are not kept" in caplog.text
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: (_ for _ in ()).throw(OSError(28, "no space")))
    assert torch.equal(decoded(files), directly(files))


def test_a_full_disk_while_writing(files, kept, monkeypatch, caplog):
    def full(file, size):
        if isinstance(file.name, str):
            raise OSError(28, "No space left on device", file.name)

    monkeypatch.setattr("genmods.data.kept.packs.reserve", full)
    assert torch.equal(decoded(files), directly(files))
    assert (
        "No space left on device" in caplog.text and not list(kept.rglob("*.part")) and not list(kept.glob("*/*.npy"))
    )


def test_stored_images_are_read_like_a_tensor(files):
    stored, whole = stored_files(files, WISH).pixels, directly(files)
    index = torch.tensor([5, 0, 1, 1, 2])
    assert torch.equal(stored[index], whole[index]) and torch.equal(stored[1:4], whole[1:4])
    assert stored.shape == tuple(whole.shape) and stored.dtype == whole.dtype and stored.nbytes == whole.nbytes
    assert torch.equal(stored.select(index)[torch.tensor([0, 4])], whole[[5, 2]])
    assert torch.equal(torch.cat(list(stored.split(4))), whole) and statistics(stored) == statistics(whole)
    again = pickle.loads(pickle.dumps(stored.select(index)))
    assert torch.equal(again[:], whole[index])
    assert stored[torch.tensor([], dtype=torch.int64)].shape == (0, 3, 6, 5)


@pytest.fixture
def folder(files):
    for i, path in enumerate(files * 4):
        target = path.parent / "ab"[i % 2] / f"{i}.bmp"
        target.parent.mkdir(exist_ok=True)
        picture(i).save(target)
    for path in files:
        path.unlink()
    return files[0].parent


@pytest.mark.parametrize("workers", [0, 2])
def test_a_memory_limit_changes_no_batch(folder, workers):
    def data(memory: str | None) -> ImageData:
        return ImageData(ImageFolder(str(folder)), 4, image_size=(6, 5), memory=memory, num_workers=workers, seed=3)

    free, bounded = data(None), data("1kB")
    assert [images.is_held for images in free.splits.values()] == [True] * 3
    assert [images.is_held for images in bounded.splits.values()] == [False] * 3
    assert bounded.hash == free.hash and bounded.info == free.info and bounded.summary() == free.summary()
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        for one, other in zip(getattr(free, loader)(), getattr(bounded, loader)(), strict=True):
            assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    free._close(), bounded._close()


def test_a_memory_limit_of_data_without_files_is_reported(caplog):
    from genmods.data.sources.digits import Digits

    assert ImageData(Digits(), memory="1MB").splits["train"].is_held and "memory" not in caplog.text
    assert ImageData(Digits(), memory="10kB").splits["train"].is_held
    assert "data.memory applies to image files; Digits holds" in caplog.text


@pytest.mark.parametrize(("text", "size"), [
    ("256MiB", 2**28), ("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("1000", 1000), ("64k", 64_000), ("3TiB", 3 * 2**40),
])  # fmt: skip
def test_sizes(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["256 apples", "-1GB", "many", "", "1e9"])
def test_other_sizes_are_refused(text, tmp_path, capsys):
    with pytest.raises(ValueError, match="memory must be a number of bytes such as 256MiB, got"):
        ImageData(ImageFolder(), memory=text)


def test_the_command_shows_and_clears_the_cache(files, kept, capsys):
    decoded(files)
    assert dispatch(["cache"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    count = sum(path.is_file() for path in kept.rglob("*"))
    assert f"{count} files" in lines["images"] and " 0 files" in lines["data"]
    assert dispatch(["cache", "--clear"]) == 0 and f"removed {count} files" in capsys.readouterr().out
    assert not kept.exists() and torch.equal(decoded(files), directly(files))
    assert dispatch(["cache", "--clear", "imags"]) == 2 and capsys.readouterr().err.count("\n") == 1


def test_images_of_a_cache_that_is_cleared_meanwhile_stay(files, kept):
    stored = stored_files(files, WISH).pixels
    shutil.rmtree(kept)
    assert torch.equal(Images(stored).batch(torch.tensor([3, 1]))["image"], directly([files[3], files[1]]))


def test_a_row_that_cannot_be_read_is_an_error(files, kept):
    stored = stored_files(files, WISH).pixels
    os.truncate(next(kept.glob("*/*.npy")), 200)
    with pytest.raises(OSError, match="truncated"):
        stored[:]


def test_a_file_that_is_gone_is_broken(files):
    decoded(files)
    files[2].unlink()
    assert "no such file" in stored_files(files, WISH).broken[0]
