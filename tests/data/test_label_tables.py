"""Labels from tables: each way people write them gives the right labels, and what is wrong is named with its row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genmods.core.errors import UserError
from genmods.data.module import ImageData
from genmods.data.sources.image_folder import ImageFolder
from support.label_tables import classes, read, save, table

BREEDS = {"a.png": "cat", "b.png": "dog", "sub/c.png": "cat", "sub/d.png": "ant"}


HEADER = ["file_name", "breed"]
ROWS = [list(item) for item in BREEDS.items()]


@pytest.mark.parametrize(
    "write",
    [
        lambda root: table(root / "metadata.csv", [HEADER, *ROWS]),
        lambda root: table(root / "metadata.csv", [HEADER, *ROWS], ";", "utf-8-sig", "\r\n"),
        lambda root: table(root / "metadata.csv", [HEADER, *ROWS], "\t", "utf-16"),
        lambda root: table(root / "metadata.tsv", [HEADER, *ROWS], "\t"),
        lambda root: table(root / "metadata.csv", ROWS),  # no header
        lambda root: table(root / "metadata.csv", [[Path(n).stem, b] for n, b in ROWS]),  # neither header nor suffix
        lambda root: table(root / "metadata.csv", [["breed", "Image"], *(row[::-1] for row in ROWS)]),
        lambda root: table(root / "metadata.csv", [["what", "breed"], *ROWS]),  # found by what is in it
        lambda root: table(
            root / "metadata.csv", [["", *HEADER], *([i, *row] for i, row in enumerate(ROWS))]
        ),  # pandas
        lambda root: table(
            root / "metadata.csv", [HEADER, *([f"C:\\x\\in\\{n}".replace("/", "\\"), b] for n, b in ROWS)]
        ),
        lambda root: table(root / "metadata.csv", [HEADER, *([Path(n).name.upper(), f" {b} "] for n, b in ROWS), []]),
        lambda root: table(root / "metadata.csv", [HEADER, *ROWS, ROWS[1]]),  # a repeated row
        lambda root: (root / "metadata.jsonl").write_text(
            "".join(json.dumps(dict(zip(HEADER, row, strict=True))) + "\n" for row in ROWS)
        ),
    ],
)
def test_each_way_to_write_a_table_gives_the_same_labels(tmp_path, write):
    save(tmp_path / "in", BREEDS)
    write(tmp_path / "in")
    assert classes(tmp_path / "in") == BREEDS


def test_a_parquet_table(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    save(tmp_path, BREEDS)
    columns = {"file_name": list(BREEDS), "age": [1.5, 2.5, 3.5, 4.5]}
    parquet.write_table(arrow.table(columns), tmp_path / "metadata.parquet")
    found, source = read(tmp_path)
    assert source.kind_of_labels == "numbers" and found["train"]["sub/c.png"] == [3.5]


def test_parquet_without_pyarrow_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    save(tmp_path, BREEDS)
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        UserError, match=r"metadata.parquet: reading Parquet requires pyarrow: pip install 'genmods\[parquet\]'"
    ):
        read(tmp_path)


def test_columns_of_zeros_and_ones_are_several_labels(tmp_path):
    save(tmp_path, BREEDS)
    table(
        tmp_path / "metadata.csv",
        [["file_name", "red", "round"], ["a", 1, 0], ["b", 0, 0], ["c", 1, 1], ["d", 0, "true"]],
    )
    found, source = read(tmp_path)
    assert source.kind_of_labels == "multilabel" and source.class_names == ["red", "round"]
    assert found["train"] == {"a.png": [1, 0], "b.png": [0, 0], "sub/c.png": [1, 1], "sub/d.png": [0, 1]}
    assert source.columns == ("file_name", "")


@pytest.mark.parametrize(("mark", "separator"), [("|", None), (";", None), (" ", " "), (",", ",")])
def test_a_separator_in_a_column_makes_several_labels(tmp_path, mark, separator):
    save(tmp_path, BREEDS)
    texts = [f"round{mark}red", "", "red", f"big{mark}red"]
    table(tmp_path / "metadata.csv", [["file_name", "tags"], *zip(BREEDS, texts, strict=True)])
    found, source = read(tmp_path, separator=separator)
    assert source.class_names == ["big", "red", "round"] and source.columns == ("file_name", "tags", mark)
    assert list(found["train"].values()) == [[0, 1, 1], [0, 0, 0], [0, 1, 0], [1, 1, 0]]


def test_lists_in_json_are_several_labels(tmp_path):
    save(tmp_path, ["a.png", "b.png"])
    lines = [{"file_name": "a.png", "tags": ["x", "y"]}, {"file_name": "b.png", "tags": []}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read(tmp_path)[0]["train"] == {"a.png": [1, 1], "b.png": [0, 0]}


def test_numbers_are_targets_and_their_statistics_those_of_the_training_images(tmp_path):
    save(tmp_path, BREEDS)
    rows = [["file_name", "age", "kg", "split"], ["a", 1, "2,5", "train"], ["b", 3, 2, "train"], ["c", 9, 1e1, "test"]]
    table(tmp_path / "metadata.csv", [*rows, ["d", 5, 4.5, "val"]])
    data = ImageData(ImageFolder(str(tmp_path)))
    assert {name: images.labels.tolist() for name, images in data.splits.items()} == {
        "train": [[1, 2.5], [3, 2]],
        "test": [[9, 10]],
        "val": [[5, 4.5]],
    }
    assert data.info.label_kind == "numbers" and data.info.class_names == ["age", "kg"]
    assert data.info.target_mean == [2, 2.25] and data.info.target_std == [1, 0.25]
    assert data.summary()[1] == "train: age 1 to 3, mean 2; kg 2 to 2.5, mean 2.25"


@pytest.mark.parametrize("cells", [["1,234", "5"], ["12", "1,234,567"], ["7,5", "1,234"]])
def test_a_comma_that_may_separate_thousands_is_refused(tmp_path, cells):
    save(tmp_path, ["a.png", "b.png"])
    rows = [["file_name", "price"], *zip(["a.png", "b.png"], cells, strict=True)]
    table(tmp_path / "metadata.csv", rows)
    line = r"metadata\.csv:\d: price must have a decimal point and no thousands separators, got '1,234"
    with pytest.raises(UserError, match=line):
        read(tmp_path)


def test_a_comma_in_a_table_with_semicolons_is_decimal(tmp_path):
    save(tmp_path, ["a.png", "b.png"])
    table(tmp_path / "metadata.csv", [["file_name", "price"], ["a.png", "1,250"], ["b.png", "5"]], delimiter=";")
    assert read(tmp_path)[0]["train"] == {"a.png": [1.25], "b.png": [5]}


def test_classes_may_be_numbers(tmp_path):
    save(tmp_path, BREEDS)
    table(tmp_path / "metadata.csv", [["id", "grade"], ["a", 10], ["b", 2], ["c", 0], ["d", 2]])
    assert read(tmp_path)[1].kind_of_labels == "numbers"
    found, source = read(tmp_path, label_kind="class")
    assert source.class_names == ["0", "2", "10"] and list(found["train"].values()) == [2, 1, 0, 1]


def test_columns_are_chosen_by_name(tmp_path):
    save(tmp_path, BREEDS)
    table(
        tmp_path / "labels.csv",
        [["pic", "breed", "age", "part"], *([n, b, i, "train"] for i, (n, b) in enumerate(ROWS))],
    )
    settings = {"labels": "labels.csv", "file_column": "pic", "split_column": "part"}
    assert classes(tmp_path, targets="breed", **settings) == BREEDS
    assert read(tmp_path, targets=["age"], **settings)[0]["train"]["b.png"] == [1]
    with pytest.raises(UserError, match=r"different kinds \(breed: text, age: numbers\); set data.targets"):
        read(tmp_path, **settings)
    with pytest.raises(UserError, match="there is no column 'bred'; did you mean 'breed'"):
        read(tmp_path, targets="bred", **settings)
    with pytest.raises(UserError, match="there is no column 'picture'"):
        read(tmp_path, labels="labels.csv", file_column="picture")


def test_a_table_per_split_and_a_test_split_without_labels(tmp_path):
    save(tmp_path, ["train/a.png", "train/b.png", "val/a.png", "test/a.png", "test/z.png"])
    table(tmp_path / "train/metadata.csv", [HEADER, ["a.png", "cat"], ["b.png", "dog"]])
    table(tmp_path / "val/metadata.csv", [HEADER, ["a.png", "dog"]])
    expected = {"train": {"train/a.png": 0, "train/b.png": 1}, "val": {"val/a.png": 1}}
    unlabeled = {"test": {"test/a.png": None, "test/z.png": None}}
    assert read(tmp_path)[0] == expected | unlabeled
    table(tmp_path / "test/metadata.csv", [["file_name"], ["a.png"], ["z.png"]])
    assert read(tmp_path)[0] == expected | unlabeled
    data = ImageData(ImageFolder(str(tmp_path)))
    assert data.test_dataloader() == [] and len(data.predict_dataloader()) == 1
    assert data.summary()[0] == "train 2, val 1, test 2 without labels, for predict, 2 classes"
    table(tmp_path / "test/metadata.csv", [HEADER, ["a.png", "dog"], ["z.png", "cat"]])
    assert read(tmp_path)[0] == expected | {"test": {"test/a.png": 1, "test/z.png": 0}}


def test_one_table_for_folders_of_splits(tmp_path):
    save(tmp_path, ["test/1.png", "train/1.png", "train/2.png"])
    table(tmp_path / "metadata.csv", [HEADER, ["train/1.png", "cat"], ["train/2.png", "dog"], ["test/1.png", "dog"]])
    assert read(tmp_path)[0] == {"train": {"train/1.png": 0, "train/2.png": 1}, "test": {"test/1.png": 1}}


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([*ROWS, ["e.png", "cat"]], "metadata.csv:6: there is no image 'e.png' in "),
        ([*ROWS, ["other/a.png", "cat"]], "metadata.csv:6: there is no image 'other/a.png' in "),
        ([*ROWS, ["a.png", "dog"]], "metadata.csv:6: 'a.png' is also in line 2, with other values"),
        ([*ROWS[:3], ["d.png", ""]], "metadata.csv:5: has no breed"),
        ([*ROWS, ["", "cat"]], "metadata.csv:6: has no file_name"),
    ],
)
def test_rows_that_cannot_be_used_are_named_or_left_out(tmp_path, caplog, rows, line):
    save(tmp_path, BREEDS)
    table(tmp_path / "metadata.csv", [HEADER, *rows])
    with pytest.raises(UserError) as stopped:
        read(tmp_path)
    assert str(stopped.value).startswith(f"{tmp_path}/{line}") and "\n" not in str(stopped.value)
    assert classes(tmp_path, on_error="skip").items() <= BREEDS.items()
    assert line in caplog.text


@pytest.mark.parametrize(
    ("rows", "settings", "line"),
    [
        ([HEADER, ["a.png"]], {}, "metadata.csv:2: has 1 cell, expected 2: file_name, breed"),
        ([HEADER], {}, "metadata.csv: has no rows"),
        ([[*HEADER, "breed"], [*ROWS[0], "x"]], {}, "metadata.csv:1: two columns have the name 'breed'"),
        ([["x", "y"], ["1", "2"]], {}, "metadata.csv: no column has the names of images; set data.file_column"),
        ([HEADER, *ROWS], {"label_kind": "numbers"}, "metadata.csv:2: breed must be a number, got 'cat'"),
        (
            [["file_name", "age"], ["a", 1], ["b", "NA"]],
            {"label_kind": "numbers"},
            ":3: age must be a number, got 'NA'",
        ),
        ([["file_name"], ["a.png"]], {}, "metadata.csv: has no column of labels; data.labels: false"),
        (
            [[*HEADER, "split"], ["a", "cat", "fold 1"]],
            {"on_error": "stop"},
            ":2: split must be train, val or test, got 'fold 1'",
        ),
        (
            [[*HEADER, "split"], ["a", "cat", "train"], ["b", "emu", "val"]],
            {},
            ":3: there is no breed 'emu' among the training",
        ),
        (
            [["file_name", "x", "y"], ["a", "1", "0"], ["b", "1", "2"]],
            {"label_kind": "multilabel"},
            ":3: y must be 0 or 1, got '2'",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_one_line(tmp_path, rows, settings, line):
    save(tmp_path, BREEDS)
    table(tmp_path / "metadata.csv", rows)
    with pytest.raises(UserError) as refused:
        read(tmp_path, **settings)
    assert line in str(refused.value)


def test_files_without_a_row_are_reported_and_ignored(tmp_path, caplog):
    save(tmp_path, BREEDS)
    table(tmp_path / "metadata.csv", [HEADER, *ROWS[:2]])
    assert classes(tmp_path) == {"a.png": "cat", "b.png": "dog"}
    assert f"left out 2 images without a row: {tmp_path}/sub/c.png, {tmp_path}/sub/d.png" in caplog.text


def test_a_table_that_is_not_used_is_reported(tmp_path, caplog):
    save(tmp_path, ["a.png", "b.png"])
    table(tmp_path / "train.csv", [HEADER, *ROWS[:2]])
    assert read(tmp_path)[0]["train"] == {"a.png": None, "b.png": None}
    assert "train.csv: not used (no class folders); data.labels: train.csv uses its labels" in caplog.text
    assert classes(tmp_path, labels="train.csv") == {"a.png": "cat", "b.png": "dog"}
    assert read(tmp_path, labels=False)[0]["train"] == {"a.png": None, "b.png": None}
    with pytest.raises(
        UserError, match=r"data.targets: there is no metadata.csv in .*; data.labels selects another table"
    ):
        read(tmp_path, targets="breed")
    with pytest.raises(UserError, match=r"data.labels: there is no file .*nothing.csv"):
        read(tmp_path, labels="nothing.csv")
    table(tmp_path / "metadata.csv", [HEADER, *ROWS[:2]])
    (tmp_path / "metadata.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"there is also .*; data.labels selects one of them"):
        read(tmp_path)


def test_an_ambiguous_name_is_refused(tmp_path):
    save(tmp_path, ["x/a.png", "y/a.png"])
    table(tmp_path / "metadata.csv", [HEADER, ["x/a.png", "cat"], ["a.png", "dog"]])
    with pytest.raises(UserError, match=r"metadata.csv:3: 'a.png' is ambiguous: x/a.png or y/a.png"):
        read(tmp_path)


def test_the_summary_has_images_by_split_and_class(tmp_path):
    save(tmp_path, [f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(10)])
    (tmp_path / "val").mkdir()
    (tmp_path / "train/fish").mkdir()
    data = ImageData(ImageFolder(str(tmp_path)), test_fraction=0)
    assert data.summary() == [
        "train 20, val 0 (empty folder), 2 classes; empty: fish",
        "train: cat 10, dog 10",
        "labels: class folders",
    ]
    assert str(data).splitlines()[1] == "  train 20, val 0 (empty folder), 2 classes; empty: fish"
    assert data.val_dataloader() == [] and data.info.class_counts == [10, 10]
    (tmp_path / "val").rmdir()
    for name in ("cat", "dog"):
        for i in range(1, 10):
            (tmp_path / f"train/{name}/{i}.png").unlink()
    data = ImageData(ImageFolder(str(tmp_path)))
    assert data.summary()[0] == "train 2, val 0 (0.1 of 2 images), test 0 (0.1 of 2 images), 2 classes; empty: fish"


def test_loose_test_images_beside_class_folders_are_for_predict(tmp_path):
    save(tmp_path, ["test/0.png", "test/1.png", "train/cat/a.png", "train/dog/b.png"])
    found, _ = read(tmp_path)
    assert found == {
        "train": {"train/cat/a.png": 0, "train/dog/b.png": 1},
        "test": {"test/0.png": None, "test/1.png": None},
    }


def test_captions_are_distinguished_from_classes(tmp_path, caplog):
    names = [f"{i:02}.png" for i in range(30)]
    save(tmp_path, names)
    table(tmp_path / "metadata.csv", [["file_name", "text"], *([name, f"a photo of {name}"] for name in names)])
    assert len(classes(tmp_path)) == 30
    assert (
        "metadata.csv: text has 30 different values for 30 images; data.targets selects another column" in caplog.text
    )
    caplog.clear()
    table(
        tmp_path / "metadata.csv", [["file_name", "kind"], *([name, f"kind {i % 15}"] for i, name in enumerate(names))]
    )
    assert len(classes(tmp_path)) == 30 and "different values" not in caplog.text


def test_a_validation_folder_without_rows_is_reported(tmp_path, caplog):
    save(tmp_path, ["train/a.png", "train/b.png", "val/c.png"])
    table(tmp_path / "metadata.csv", [HEADER, ["train/a.png", "cat"], ["train/b.png", "dog"]])
    data = ImageData(ImageFolder(str(tmp_path)), test_fraction=0)
    assert data.summary()[0] == "train 2, val 0 (no row), 2 classes"
    assert "left out 1 image without a row" in caplog.text


def test_many_missing_images_are_listed_in_a_moment(tmp_path):
    save(tmp_path, BREEDS)
    rows = [[f"missing {i}.png", "cat"] for i in range(3000)]
    table(tmp_path / "metadata.csv", [HEADER, *ROWS, *rows])
    with pytest.raises(UserError) as refused:
        read(tmp_path)
    first, *listed, last = str(refused.value).split("\n  ")
    assert first == "3,000 rows cannot be used; data.on_error: skip ignores them:" and last == "and 2,980 more"
    assert len(listed) == 20 and listed[0].startswith(f"{tmp_path}/metadata.csv:6: there is no image 'missing 0.png'")


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", "{"])
def test_lines_that_are_not_json_are_named(tmp_path, line):
    save(tmp_path, ["a.png"])
    (tmp_path / "metadata.jsonl").write_text(f'{{"file_name": "a.png", "label": 1}}\n{line}\n')
    with pytest.raises(UserError, match="jsonl:2: is not JSON"):
        read(tmp_path)


def test_one_folder_of_another_name_has_test_images_without_labels(tmp_path):
    save(tmp_path, ["test/unknown/0.png", "test/unknown/1.png", "train/cat/a.png", "train/dog/b.png"])
    found, _ = read(tmp_path)
    assert found["test"] == {"test/unknown/0.png": None, "test/unknown/1.png": None}
    save(tmp_path, ["test/Dog/2.png"])
    with pytest.raises(UserError, match="there is no class 'Dog' among the training images"):
        read(tmp_path)
