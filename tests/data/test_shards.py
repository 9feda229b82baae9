"""Sharded archives and saved data sets: the samples of the archives, shared out and resumed without loss."""

from __future__ import annotations

import io
import json
import os
import random
import tarfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.data.loader import Loader, Shuffled
from genmods.data.module import ImageData
from genmods.data.sources.hf_dataset import HFDataset
from genmods.data.sources.shards import Shards

NAMES = ("cat", "dog", "owl")


def picture(i: int, sides: tuple[int, int] = (7, 5)) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (*sides, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, form: str = "png") -> bytes:
    Image.fromarray(pixels).save(content := io.BytesIO(), form)
    return content.getvalue()


def archive(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            (info := tarfile.TarInfo(name)).size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def shard(path: Path, numbers: range, label: str = "cls") -> Path:
    members = {}
    for i in numbers:
        text = json.dumps({"kind": NAMES[i % 3]}) if label == "json" else str(i % 3)
        members |= {
            f"./a/{i:04}.{label}": text.encode(),
            f"./a/{i:04}.png": encoded(picture(i)),
            f"./a/{i:04}.txt": b"",
        }
    return archive(path, members)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    for k, numbers in enumerate((range(11), range(11, 13), range(13, 40))):
        shard(root / f"train-{k}.tar", numbers)
    return root


def expected(numbers: Iterable[int]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(picture(i)).permute(2, 0, 1) for i in numbers])


def test_the_samples_of_all_shards_in_order(shards):
    for _ in range(2):  # the second time from the cache
        source = Shards(str(shards))
        images = source.read()["train"]
        assert torch.equal(images.pixels, expected(range(40)))
        assert images.labels.tolist() == [i % 3 for i in range(40)] and source.class_names == ["0", "1", "2"]


def test_archives_of_webdataset(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        for i in range(5):
            writer.write({"__key__": f"{i:03}", "png": picture(i), "json": {"kind": NAMES[i % 3]}})
    source = Shards(str(tmp_path), label="json.kind")
    images = source.read()["train"]
    assert torch.equal(images.pixels, expected(range(5))) and source.class_names == [*NAMES]
    assert images.labels.tolist() == [0, 1, 2, 0, 1]


def test_a_changed_archive_is_indexed_again(tmp_path):
    path = shard(tmp_path / "x.tar", range(4))
    assert len(Shards(train=str(path)).read()["train"]) == 4
    shard(path, range(2, 8), "json")
    source = Shards(str(tmp_path), label="json.kind")
    assert torch.equal(source.read()["train"].pixels, expected(range(2, 8))) and source.class_names == [*NAMES]


def test_sizes_are_fitted_or_refused(tmp_path):
    members = {f"{i}.png": encoded(picture(i, (7, 5 + i))) for i in range(3)}
    source = Shards(train=str(archive(tmp_path / "x.tar", members)), label="")
    assert source.read_at((4, 6))["train"].pixels.shape == (3, 3, 4, 6) and source.class_names == []
    with pytest.raises(UserError, match=r"x\.tar/1\.png: has 6 x 7 pixels .* set data\.image_size"):
        source.read()


def ranks(images, plan: dict, workers: int = 2) -> list[Loader]:
    return [Loader(images, Shuffled(**plan, rank=rank, world=3), num_workers=workers) for rank in range(3)]


def test_three_ranks_of_two_workers_killed_and_resumed_see_each_sample_once(shards):
    data = ImageData(Shards(str(shards)), 4, val_fraction=0, test_fraction=0, memory="1kB")
    images, plan = data.splits["train"], {"samples": 40, "batch_size": 4, "seed": 7}
    assert not images.is_held and data.left_over(2) == []
    assert data.left_over(3)[0].startswith("4 of 40 training samples are left over in each epoch")
    pixels, rng = expected(range(40)), random.Random(0)
    whole = [[batch["index"].tolist() for _ in range(2) for batch in loader] for loader in ranks(images, plan, 0)]
    assert len(whole[0]) == 6
    for _ in range(2):
        done, seen = 0, [[], [], []]
        while done < 6:
            stop = min(6, done + rng.randint(1, 4))
            loaders = ranks(images, plan)
            for rank, loader in enumerate(loaders):
                loader.load_state_dict({"batches": done})
                batches = (batch for _ in range(3) for batch in loader)
                for _ in range(stop - done):
                    batch = next(batches)
                    assert torch.equal(batch["image"], pixels[batch["index"]])
                    seen[rank].append(batch["index"].tolist())
                next(batches, None)  # fetched and lost
                loader.close()
            done = stop
        assert seen == whole
    for epoch in range(2):
        drawn = Counter(i for rank in whole for batch in rank[3 * epoch : 3 * epoch + 3] for i in batch)
        assert set(drawn.values()) == {1} and 40 - len(drawn) <= 3 * 4 - 1


def test_held_in_memory_and_read_from_archives_alike(shards):
    def data(memory: str | None) -> ImageData:
        return ImageData(Shards(str(shards)), 5, image_size=6, memory=memory, seed=2)

    free, bounded = data(None), data("100B")
    assert free.splits["train"].is_held and not bounded.splits["train"].is_held
    assert bounded.info == free.info and bounded.hash != "" and data("100B").hash == bounded.hash
    for one, other in zip(free.train_dataloader(), bounded.train_dataloader(), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_splits_by_name_folder_and_pattern(tmp_path):
    for name, numbers in {"train-0": range(3), "val-0": range(3, 5), "test_0": range(5, 6)}.items():
        shard(tmp_path / f"{name}.tar", numbers)
    (tmp_path / "other").mkdir()
    shard(tmp_path / "other" / "more.tar", range(6, 10))
    assert {split: len(images) for split, images in Shards(str(tmp_path)).read().items()} == {
        "train": 7,
        "val": 2,
        "test": 1,
    }
    given = Shards(train=[f"{tmp_path}/train-*.tar", f"{tmp_path}/other/*.tar"], test=f"{tmp_path}/val-0.tar").read()
    assert torch.equal(given["train"].pixels, expected([*range(3), *range(6, 10)])) and len(given["test"]) == 2
    (empty := tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"no files .* for training"):
        Shards(str(empty)).read()


def test_a_recipe_trains_on_shards(shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(
        "task: {name: classification, network: {name: resnet, width: 4}}\n"
        f"data: {{name: shards, root: {shards}, image_size: 6, batch_size: 8, memory: 1kB,\n"
        "  augment: [flip]}\n"
        "optimizer: {name: adamw, lr: 1e-3}\ntrainer: {max_steps: 3, accelerator: cpu}\n"
    )
    assert dispatch(["fit", "--config", "r.yaml", "--quiet"]) == 0
    assert dispatch(["test", "--config", "r.yaml"]) == 0


BAD = {
    "nothing": ({}, {}, "contains no images"),
    "two images": ({"a.png": encoded(picture(0)), "a.jpg": b"x"}, {}, "the sample has two images"),
    "no label": ({"a.png": encoded(picture(0)), "b.png": b"", "b.cls": b"1"}, {}, "a.png: has no label"),
    "no key": ({"a.png": b"", "a.json": b"{}"}, {"label": "json.kind"}, "a.json: has no kind"),
    "no json": ({"a.png": b"", "a.json": b"{"}, {"label": "json.kind"}, "a.json: is not a readable label"),
    "no such files": ({"a.png": b"", "a.json": b"{}"}, {"label": "jsn"}, "data.label: .* did you mean 'json'"),
    "broken image": ({"a.png": encoded(picture(0))[:60], "a.cls": b"1"}, {}, "x.tar/a.png: "),
    "negative": ({"a.png": encoded(picture(0)), "a.cls": b"-1"}, {}, "a class must be a number from 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archives_are_one_line(tmp_path, name):
    members, settings, message = BAD[name]
    path = archive(tmp_path / "x.tar", members)
    with pytest.raises(UserError, match=message) as refused:
        source = Shards(train=str(path), **settings)
        source.read_at(4), source.class_names
    assert "\n" not in str(refused.value) and (str(path.name) in str(refused.value) or "class" in message)


def test_other_bad_archives(tmp_path):
    with pytest.raises(UserError, match=r"data\.train: there are no files"):
        Shards(train=str(tmp_path / "*.tar")).read()
    path = archive(tmp_path / "x.tar.gz", {"a.png": encoded(picture(0))}, "w:gz")
    with pytest.raises(UserError, match=r"x\.tar\.gz: is compressed"):
        Shards(train=str(path)).read()
    path = archive(tmp_path / "y.tar", {f"{i}.png": encoded(picture(i, (40, 40))) for i in range(3)})
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(UserError, match=r"y\.tar: has no end, it may be truncated"):
        Shards(train=str(path)).read()
    with pytest.raises(UserError, match="is listed twice"):
        Shards(train=[str(path), str(path)]).read()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    root = tmp_path_factory.mktemp("saved")
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=[*NAMES])})

    def table(numbers: range):
        rows = {
            "picture": [{"bytes": encoded(picture(i)), "path": None} for i in numbers],
            "label": [i % 3 for i in numbers],
        }
        return datasets.Dataset.from_dict(rows, features)

    splits = datasets.DatasetDict({"train": table(range(12)), "validation": table(range(12, 15))})
    splits.save_to_disk(str(root / "dict"))
    splits["train"].save_to_disk(str(root / "single"))
    (root / "parquet").mkdir()
    for name, numbers in {"train-00000-of-00002": range(7), "train-00001-of-00002": range(7, 12)}.items():
        table(numbers).to_parquet(str(root / "parquet" / f"{name}.parquet"))
    splits["validation"].to_parquet(str(root / "parquet" / "validation-00000.parquet"))
    return root


@pytest.mark.parametrize("form", ["dict", "single", "parquet"])
def test_saved_data_sets_and_parquet_files(saved, form):
    source = HFDataset(str(saved / form))
    splits = source.read()
    assert list(splits) == (["train"] if form == "single" else ["train", "val"])
    assert torch.equal(splits["train"].pixels, expected(range(12))) and source.class_names == [*NAMES]
    assert splits["train"].labels.tolist() == [i % 3 for i in range(12)]
    if "val" in splits:
        assert torch.equal(splits["val"].pixels, expected(range(12, 15))) and splits["val"].labels.tolist() == [0, 1, 2]


def test_parquet_written_by_pyarrow(tmp_path):
    pytest.importorskip("datasets")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": encoded(picture(i)), "path": f"{i}.png"} for i in range(4)]
    table = arrow.table({"image": cells, "kind": ["owl", "cat", "cat", "owl"]})
    parquet.write_table(table, tmp_path / "x.parquet")
    source = HFDataset(str(tmp_path / "x.parquet"), label="kind")
    images = source.read()["train"]
    assert torch.equal(images.pixels, expected(range(4))) and images.labels.tolist() == [1, 0, 0, 1]
    assert HFDataset(str(tmp_path / "x.parquet")).class_names == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"root": "single", "image": "pictur"}, "data.image: there is no column 'pictur'; did you mean 'picture'"),
        ({"root": "single", "label": "lable"}, "data.label: there is no column 'lable'; did you mean 'label'"),
        ({"root": "nowhere"}, "data.root: there is no folder"),
    ],
)
def test_mistakes_with_saved_data_sets(saved, settings, message):
    with pytest.raises(UserError, match=message) as refused:
        HFDataset(**settings | {"root": str(saved / settings["root"])}).read()
    assert "\n" not in str(refused.value)


def samples(*members: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    return [("a.png", encoded(picture(1))), ("b.png", encoded(picture(2))), *members]


@pytest.mark.parametrize(
    ("members", "label", "line"),
    [
        ([("a.v1.cls", b"0"), ("b.v1.cls", b"1")], "cls", "names must have one dot, before .cls, got .v1.cls"),
        ([("a.json", b'{"y": [1, 2]}'), ("b.json", b'{"y": 3}')], "json.y", "a.json: y must be a class, got [1, 2]"),
        ([("a.json", b'{"y": null}'), ("b.json", b'{"y": "x"}')], "json.y", "a.png: has no label"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, members, label, line):
    archive(tmp_path / "train-0.tar", dict(samples(*members)))
    with pytest.raises(UserError) as refused:
        ImageData(Shards(str(tmp_path), label=label), image_size=5, val_fraction=0, test_fraction=0).splits  # noqa: B018
    assert line in str(refused.value)


def test_two_labels_of_a_sample_are_refused(tmp_path):
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for name, content in samples(("a.cls", b"0"), ("a.cls", b"1"), ("b.cls", b"0")):
            (info := tarfile.TarInfo(name)).size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UserError, match=r"a.cls: the sample has two labels"):
        ImageData(Shards(str(tmp_path)), image_size=5, val_fraction=0, test_fraction=0).splits  # noqa: B018


def test_whole_numbers_of_json_are_one_class(tmp_path):
    members = samples(("a.json", b'{"y": 1.0}'), ("b.json", b'{"y": 1}'))
    archive(tmp_path / "train-0.tar", dict(members))
    data = ImageData(Shards(str(tmp_path), label="json.y"), image_size=5, val_fraction=0, test_fraction=0)
    assert len(data.splits["train"].labels.unique()) == 1


def test_a_broken_image_in_an_archive_is_named(tmp_path):
    archive(tmp_path / "train-0.tar", dict(samples(("c.png", b"no image"))))
    with pytest.raises(UserError, match=r"train-0.tar/c.png: is not an image"):
        ImageData(Shards(str(tmp_path)), image_size=5, val_fraction=0, test_fraction=0).splits  # noqa: B018


@pytest.mark.parametrize("label", [[0, 1], [], 0.5])
def test_labels_of_a_data_set_that_are_no_classes_are_refused(tmp_path, label):
    pytest.importorskip("datasets")
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images = [{"bytes": encoded(picture(i)), "path": None} for i in range(2)]
    parquet.write_table(arrow.table({"image": images, "label": [label, label]}), tmp_path / "d.parquet")
    with pytest.raises(UserError, match="label must be a class, got "):
        ImageData(HFDataset(str(tmp_path / "d.parquet")), image_size=5, val_fraction=0, test_fraction=0).splits  # noqa: B018


def test_a_parquet_file_that_was_replaced_is_read_again(tmp_path):
    """Also with its former size and time."""
    pytest.importorskip("datasets")
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "d.parquet"
    for first in (0, 10):
        images = [{"bytes": encoded(picture(first + i), "bmp"), "path": None} for i in range(2)]
        parquet.write_table(arrow.table({"image": images, "label": [0, 1]}), path, compression="none")
        os.utime(path, (1e9, 1e9))
        data = ImageData(HFDataset(str(path)), image_size=(7, 5), val_fraction=0, test_fraction=0)
        found = data.splits["train"].in_memory().pixels
        assert torch.equal(found, expected(range(first, first + 2)))
