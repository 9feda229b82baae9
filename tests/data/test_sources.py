"""Every registered source reads its documented contents, and broken or missing files are reported in one line."""

from __future__ import annotations

import gzip
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from genmods.config.builtins import BUILTINS, imported
from genmods.core.errors import UserError
from genmods.data.idx import read_idx
from genmods.data.images import Images, Source, to_float, to_uint8
from genmods.data.info import DataInfo
from genmods.data.module import ImageData, statistics
from genmods.data.sources.cifar import CIFAR10
from genmods.data.sources.digits import Digits
from genmods.data.sources.mnist import MNIST, FashionMNIST
from genmods.data.sources.synthetic import Synthetic

FASHION = Path("/usr/share/datasets/fashion-mnist")


def write_idx(path: Path, values: np.ndarray) -> None:
    header = b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def small_mnist(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 40), ("t10k", 10)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 28, 28)))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    return folder


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("GENMODS_DATA", str(tmp_path / "none"))


@pytest.mark.parametrize("name", sorted(BUILTINS["data"]))
def test_reads_or_reports_in_one_line_what_is_missing(name, no_data):
    source = imported(BUILTINS["data"][name])()
    try:
        splits = source.read()
    except UserError as error:
        reasons = ("set root", "no folder", "data.from: set", "pip install")
        assert "\n" not in str(error) and any(reason in str(error) for reason in reasons)
        return
    for images in splits.values():
        assert int(images.pixels.max()) < source.levels
        assert torch.equal(images.labels.unique(), torch.arange(len(source.class_names)))


@dataclass
class Unnamed(Source):
    """Three classes, or two numbers per image, without names."""

    numbers: bool = False

    def read(self):
        pixels = torch.arange(48 * 16, dtype=torch.int64).remainder(251).to(torch.uint8).view(48, 1, 4, 4)
        return {"train": Images(pixels, torch.rand(48, 2) if self.numbers else torch.arange(48) % 3)}


@pytest.mark.parametrize(("numbers", "names"), [(False, ["0", "1", "2"]), (True, ["0", "1"])])
def test_classes_and_columns_without_names_are_numbered(numbers, names):
    info = ImageData(Unnamed(numbers)).info
    assert (info.class_names, info.num_classes) == (names, len(names))


def test_digits_keep_their_seventeen_levels_exactly():
    pixels = Digits().read()["train"].pixels
    assert pixels.shape == (1797, 1, 8, 8) and pixels.unique().tolist() == list(range(17))
    images = to_float(pixels, 17)
    assert set(images.unique().tolist()) == {p / 8 - 1 for p in range(17)}
    assert torch.equal(to_uint8(images, 17), pixels)
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(every)), every) and to_float(every)[-1] == 1


@pytest.mark.skipif(not FASHION.is_dir(), reason="Fashion-MNIST is not installed")
def test_fashion_mnist_is_found_complete(monkeypatch):
    monkeypatch.delenv("GENMODS_DATA", raising=False)
    splits = FashionMNIST(root=str(FASHION)).read()
    assert {k: len(v) for k, v in splits.items()} == {"train": 60000, "test": 10000}
    assert splits["train"].labels.bincount().tolist() == [6000] * 10
    (mean,), (std,) = statistics(splits["train"].pixels)
    assert abs((mean + 1) / 2 - 0.2860) < 1e-4 and abs(std / 2 - 0.3530) < 1e-4  # the data set's published figures


def test_idx_files_in_a_folder_or_in_genmods_data(tmp_path, monkeypatch):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    small_mnist(folder)
    assert len(MNIST(root=str(folder)).read()["train"]) == 40
    monkeypatch.setenv("GENMODS_DATA", str(tmp_path))
    assert len(MNIST().read()["test"]) == 10


@pytest.mark.parametrize("damage", ["cut", "garbage", "wrong magic", "short", "label", "absent"])
def test_a_broken_idx_file_is_named(damage, tmp_path):
    small_mnist(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-12])
    elif damage == "garbage":
        path.write_bytes(b"hello")
    elif damage == "wrong magic":
        path.write_bytes(gzip.compress(b"\1\2\3\4" * 20))
    elif damage == "short":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-5]))
    elif damage == "label":
        write_idx(path, np.full(40, 10))
    else:
        path.unlink()
    with pytest.raises(UserError, match=str(tmp_path)) as error:
        MNIST(root=str(tmp_path)).read()
    assert "\n" not in str(error.value) and "label" in str(error.value)


def test_idx_uncompressed_and_of_any_shape(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path / "x.gz", values)
    (tmp_path / "x").write_bytes(gzip.decompress((tmp_path / "x.gz").read_bytes()))
    for name in ("x", "x.gz"):
        assert torch.equal(read_idx(tmp_path / name), torch.from_numpy(values))


def test_cifar_that_is_broken_is_named(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(pickle.dumps({}))
    with pytest.raises(UserError, match="CIFAR10 is incomplete or broken"):
        CIFAR10(root=str(tmp_path)).read()


def test_synthetic_classes_differ_and_samples_depend_on_their_index():
    splits = Synthetic(200, 40, side=12).read()
    again = Synthetic(100, 40, side=12).read()
    assert torch.equal(splits["train"].pixels[:100], again["train"].pixels)
    assert not torch.equal(splits["train"].pixels[:40], splits["test"].pixels)
    hues = {name: to_float(images.pixels).flatten(2).amax(2) for name, images in splits.items()}
    nearest = torch.cdist(hues["test"], hues["train"]).argmin(1)
    assert torch.equal(splits["train"].labels[nearest], splits["test"].labels)


def test_info_and_splits():
    data = ImageData(Digits(), val_fraction=0.2, test_fraction=0.1)
    info = data.info
    pixels = data.splits["train"].pixels.double() / 8 - 1
    assert info.in_channels == 1 and info.image_size == 8 and info.num_classes == 10
    assert info.mean == pytest.approx((float(pixels.mean()),)) and info.levels == 17
    assert info.std == pytest.approx((float(pixels.std(correction=0)),))
    assert DataInfo(**info.plain()) == info
    assert info.sigma_data == pytest.approx(float(pixels.square().mean().sqrt()))
    assert {name: len(images) for name, images in data.splits.items()} == {"train": 1258, "test": 180, "val": 359}
    for images in data.splits.values():
        share = images.labels.bincount() / len(images)
        assert (share - 0.1).abs().max() < 0.01
    other = ImageData(Digits(), val_fraction=0.2, seed=5)
    assert other.hash == data.hash != ImageData(Digits(), split_seed=1).hash
    assert ImageData(Digits(), limit=7).info.num_classes == 10
    assert all(len(images) == 7 for images in ImageData(Digits(), limit=7).splits.values())


@pytest.mark.parametrize("levels", [17, 256])
def test_image_size_keeps_levels_and_constants(levels):
    class Plain(Synthetic):
        def read(self):
            pixels = torch.arange(levels).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 6, 9).contiguous()
            return {"train": Images(pixels)}

        @property
        def levels(self):
            return levels

    images = ImageData(Plain(), image_size=10, val_fraction=0, test_fraction=0).splits["train"]
    assert images.pixels.shape[-2:] == (10, 10)
    assert torch.equal(images.pixels[:, 0, 3, 4], torch.arange(levels).to(torch.uint8))


def test_images_of_the_wrong_kind_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        Images(torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match="one label per image, 2, got 3"):
        Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3))
    for settings in (
        {"batch_size": 0},
        {"val_fraction": 1.0},
        {"num_workers": -1},
        {"val_fraction": 0.5, "test_fraction": 0.5},
    ):
        with pytest.raises(ValueError, match=next(iter(settings))):
            ImageData(Digits(), **settings)


def test_a_tensor_too_large_for_memory_is_mapped(monkeypatch, tmp_path):
    import genmods.data.allocation as memory

    monkeypatch.setattr(memory, "_SMALL", 10)
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    monkeypatch.setenv("GENMODS_CACHE", str(tmp_path))
    images = Images(torch.randint(0, 256, (30, 1, 4, 4), dtype=torch.uint8), torch.arange(30))
    chosen = images.select(torch.tensor([3, 1, 29]))
    assert torch.equal(chosen.pixels, images.pixels[[3, 1, 29]]) and not list(tmp_path.iterdir())


def test_images_need_not_be_squares():
    class Wide(Synthetic):
        def read(self):
            return {"train": Images(torch.arange(20 * 54).remainder(256).to(torch.uint8).view(20, 1, 6, 9))}

    assert ImageData(Wide()).info.image_size == (6, 9)
    assert ImageData(Wide(), image_size=(4, 8), fit="stretch").info.image_size == (4, 8)
    assert ImageData(Wide(), image_size=6).info.image_size == 6
