"""Tables as spreadsheets, pandas, other data sets and other file systems write them."""

from __future__ import annotations

import json
import unicodedata

import pytest

from genmods.core.errors import UserError
from support.label_tables import classes, read, save, table

FOUR = ["a.png", "b.png", "c.png", "d.png"]
BREEDS = dict(zip(FOUR, ["cat", "dog", "cat", "ant"], strict=True))


def written(root, text: str, name="metadata.csv", files=FOUR) -> None:
    save(root, files)
    (root / name).write_text(text, newline="")


def lines(*records) -> str:
    return "\n".join(map(json.dumps, records))


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\nfile_name;breed\r\na.png;cat\r\nb.png;dog\r\nc.png;cat\r\nd.png;ant\r\n",
        "file_name|breed\na.png|cat\nb.png|dog\nc.png|cat\nd.png|ant\n",
        "file_name,breed\na.png,cat,\nb.png,dog,,\nc.png,cat\nd.png,ant,\n",
        "file_name,breed,,\na.png,cat,,\nb.png,dog,,\nc.png,cat,,\nd.png,ant,,\n",
        "Unnamed: 0,file_name,breed\n0,a.png,cat\n1,b.png,dog\n2,c.png,cat\n3,d.png,ant\n",
        "file_name,breed\nhttps://host/x/a.png,cat\nfile:///x/b.png,dog\ns3://bucket/c.png,cat\n./x/../d.png,ant\n",
    ],
)
def test_dialects(tmp_path, text):
    written(tmp_path, text)
    assert classes(tmp_path) == BREEDS


def test_names_may_differ_in_unicode_form_and_in_leading_zeros(tmp_path):
    files = [unicodedata.normalize("NFD", "é.png"), "0007.png", "12.png"]
    rows = [["id", "breed"], [unicodedata.normalize("NFC", "é.png"), "cat"], [7, "dog"], ["0012", "cat"]]
    save(tmp_path, sorted(files))
    table(tmp_path / "metadata.csv", rows)
    assert classes(tmp_path) == dict(zip(sorted(files), ["dog", "cat", "cat"], strict=True))
    save(tmp_path, ["007.png"])
    with pytest.raises(UserError, match=r"metadata.csv:3: '7' is ambiguous: 0?007.png or 0?007.png"):
        read(tmp_path)


def test_ids_may_be_written_as_floats(tmp_path):
    written(tmp_path, "id,breed\n1.0,cat\n2.0,dog\n", files=["0001.png", "2.png"])
    assert classes(tmp_path) == {"0001.png": "cat", "2.png": "dog"}


def test_images_in_a_table_are_read_by_another_source(tmp_path):
    cells = {"image": {"bytes": "x" * 10_000, "path": "a.png"}, "label": 1}
    written(tmp_path, lines(cells), "metadata.jsonl")
    with pytest.raises(UserError, match="image must be the name of a file; the source hf_dataset reads images"):
        read(tmp_path)


def test_folders_beside_those_of_splits_are_reported(tmp_path, caplog):
    save(tmp_path, ["train/x/a.png", "train/y/b.png", "vaild/x/c.png", "val/x/d.png", "validation/y/e.png"])
    found, _ = read(tmp_path)
    assert set(found) == {"train", "val"} and set(found["val"]) == {"validation/y/e.png"}
    for name in ("vaild", "val"):
        assert f"{tmp_path / name}: not used: 1 image outside the folders of splits" in caplog.text


def test_ids_of_json_may_be_numbers(tmp_path):
    text = lines({"id": 1, "breed": "cat"}, {"id": 2.0, "breed": "do\u2028g"})
    written(tmp_path, text.replace("\\u2028", "\u2028"), "metadata.jsonl", ["1.png", "2.png"])
    assert classes(tmp_path) == {"1.png": "cat", "2.png": "do\u2028g"}


def test_a_table_named_after_a_split_prefers_its_files(tmp_path):
    written(tmp_path, "id,breed\n1,cat\n2,dog\n", "train.csv", ["test/1.png", "train/1.png", "train/2.png"])
    assert read(tmp_path, labels="train.csv")[0] == {
        "train": {"train/1.png": 0, "train/2.png": 1},
        "test": {"test/1.png": None},
    }


def test_a_table_without_header_may_begin_with_a_missing_image(tmp_path):
    written(tmp_path, "zz.png,cat\na.png,dog\nb.png,cat\n", files=["a.png", "b.png"])
    with pytest.raises(UserError, match=r"metadata.csv:1: there is no image 'zz.png'"):
        read(tmp_path)
    assert classes(tmp_path, on_error="skip") == {"a.png": "dog", "b.png": "cat"}


@pytest.mark.parametrize(("no", "yes"), [("no", "yes"), ("N", "Y"), ("f", "t"), ("-1", "1"), ("0.0", "1.0")])
def test_columns_of_two_values_are_several_labels(tmp_path, no, yes):
    rows = [[yes, no], [no, no], [yes, yes], [no, yes]]
    text = "\n".join(["image_id,red,round", *(f"{name},{a},{b}" for name, (a, b) in zip(FOUR, rows, strict=True))])
    written(tmp_path, text)
    found, source = read(tmp_path)
    assert source.kind_of_labels == "multilabel"
    assert list(found["train"].values()) == [[1, 0], [0, 0], [1, 1], [0, 1]]


def test_minus_one_beside_zero_is_neither(tmp_path):
    """As for findings that are uncertain."""
    written(tmp_path, "file_name,x,y\na,1,0\nb,-1,1\nc,0,1\nd,1,1\n")
    assert read(tmp_path)[1].kind_of_labels == "numbers"
    with pytest.raises(UserError, match=r"metadata.csv:3: x must be 0 or 1, got '-1'"):
        read(tmp_path, label_kind="multilabel")


def test_a_column_per_class(tmp_path):
    written(tmp_path, "image,MEL,NV,BCC\na,1.0,0.0,0.0\nb,0,1,0\nc,0,0,1\nd,1,0,0\n")
    assert read(tmp_path)[1].kind_of_labels == "multilabel"
    found, source = read(tmp_path, label_kind="class")
    assert source.class_names == ["MEL", "NV", "BCC"] and list(found["train"].values()) == [0, 1, 2, 0]
    assert source.columns == ("image", "class")
    written(tmp_path, "image,MEL,NV\na,1,0\nb,0,1\nc,1,1\nd,0,0\n")
    with pytest.raises(UserError) as refused:
        read(tmp_path, label_kind="class")
    assert ":4: a class must have a single 1 in its columns, got 2" in str(refused.value)
    assert ":5: a class must have a single 1 in its columns, got 0" in str(refused.value)


def test_missing_numbers_are_rows_without_a_label(tmp_path):
    written(tmp_path, "file_name,age\na,3\nb,NA\nc,n/a\nd,\N{MINUS SIGN}5\n")
    with pytest.raises(UserError, match=r"2 rows cannot be used(.|\n)*:3: age must be a number, got 'NA'"):
        read(tmp_path)
    found, source = read(tmp_path, on_error="skip")
    assert source.kind_of_labels == "numbers" and found["train"] == {"a.png": [3], "d.png": [-5]}


@pytest.mark.parametrize("odd", ["1.234,5", "inf", "12O", "3_0"])
def test_one_text_among_numbers_is_refused_with_its_row(tmp_path, odd):
    text = f'file_name,age\na,3\nb,4\nc,"{odd}"\nd,5\n'
    written(tmp_path, text)
    line = rf"metadata.csv:4: age must be a number, got '{odd}'; data.label_kind: class reads texts as classes"
    with pytest.raises(UserError, match=line):
        read(tmp_path)
    assert set(read(tmp_path, label_kind="class")[1].class_names) == {"3", "4", "5", odd}


def test_digits_with_an_underscore_are_text(tmp_path):
    written(tmp_path, "file_name,age\na,10_20\nb,20_30\nc,10_20\nd,20_30\n")
    assert classes(tmp_path) == dict(zip(FOUR, ["10_20", "20_30"] * 2, strict=True))


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ([0.5, 2.0], "xy must be a list of labels, got 0.5; numbers are one column each"),
        ([[1, 2]], r"xy must be a list of labels, got \[1, 2\]"),
        ([{"box": 1}], "xy must be a list of labels, got {'box': 1}"),
        ({"box": [1]}, "xy must be text, a number or a list of labels, got an object"),
    ],
)
def test_measurements_in_json_are_not_labels(tmp_path, cell, line):
    written(tmp_path, lines(*({"file_name": name, "xy": cell} for name in FOUR)), "metadata.jsonl")
    with pytest.raises(UserError, match=rf"metadata.jsonl:1: {line}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("tags", "note"),
    [
        (["red, big", "red", "big", "round"], "tags seems to have several labels; data.separator: ',' separates them"),
        (["New York, NY", "Boston, MA", "Boston, MA", "New York, NY"], None),
        (["CAT", "cat", "dog", "dog"], "classes may be the same: CAT, cat"),
        (["cat", "NA", "dog", "dog"], "tags 'NA' is a class; empty cells have none"),
    ],
)
def test_classes_that_may_be_mistakes_are_reported(tmp_path, caplog, tags, note):
    save(tmp_path, FOUR)
    table(tmp_path / "metadata.csv", [["file_name", "tags"], *zip(FOUR, tags, strict=True)])
    assert read(tmp_path)[1].class_names == sorted({*tags})
    assert (note in caplog.text) if note else "separator" not in caplog.text


def test_several_columns_of_text_are_refused_by_name(tmp_path):
    written(tmp_path, "file_name,breed,color\na,cat,red\nb,dog,red\nc,cat,blue\nd,dog,blue\n")
    with pytest.raises(UserError, match=r"several columns may be the labels \(breed: text, color: text\); set"):
        read(tmp_path)


def test_the_index_of_pandas_in_parquet(tmp_path):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    save(tmp_path, FOUR)
    frame = pandas.DataFrame({"file_name": FOUR, "age": [1.0, 2.0, 3.0, 4.0]}, index=[3, 1, 2, 0])
    frame.to_parquet(tmp_path / "metadata.parquet")
    assert read(tmp_path)[0]["train"] == {name: [i] for i, name in enumerate(FOUR, 1)}


def test_a_column_of_splits_with_another_name_is_reported(tmp_path, caplog):
    text = "file_name,breed,subset\na.png,cat,train\nb.png,dog,Train\nc.png,cat,valid\nd.png,dog,test\n"
    written(tmp_path, text)
    assert len(read(tmp_path, targets="breed")[0]["train"]) == 4
    assert "subset seems to be a column of splits, but is not used; data.split_column: subset" in caplog.text
    caplog.clear()
    assert set(read(tmp_path, targets="breed", split_column="subset")[0]) == {"train", "val", "test"}
    assert "subset" not in caplog.text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("f;eur\na.png;950,5\nb.png;1.234\nc.png;7\n", ":3: eur is ambiguous: '1.234', beside '950,5' in line 2"),
        ("f;eur\na.png;9.5\nb.png;-1,234\nc.png;7\n", ":3: eur is ambiguous: '-1,234', beside '9.5' in line 2"),
        ("f,v\na.png,1700000001\nb.png,1700000002\n", ": v must differ by more than float32 resolves, got 17000"),
        ("f,v\na.png,1e39\nb.png,2\nc.png,3\n", ":2: v must be a number, got '1e39'"),
        ("f,tags\na.png,\"['x', 'y']\"\nb.png,[]\n", ":2: tags must be text, got the list ['x', 'y']; write x|y"),
    ],
)  # fmt: skip
def test_cells_that_would_be_read_otherwise_than_meant_are_refused(tmp_path, text, line):
    written(tmp_path, text)
    with pytest.raises(UserError) as refused:
        read(tmp_path)
    assert f"metadata.csv{line}" in str(refused.value)


def test_decimal_marks_may_differ_between_tables(tmp_path):
    save(tmp_path, ["train/a.png", "train/b.png", "val/c.png"])
    (tmp_path / "train/metadata.csv").write_text("file_name,y\na.png,1.5\nb.png,2\n")
    (tmp_path / "val/metadata.csv").write_text("file_name;y\nc.png;1,5\n")
    assert read(tmp_path)[0]["val"] == {"val/c.png": [1.5]}


@pytest.mark.parametrize(
    "cells", [[[1, 0, 0], [0, 1, 1]], [[1, 0], [0, 1]], [[True, False], [True, True]], [["x", None], []]]
)
def test_lists_of_other_things_than_labels_are_refused(tmp_path, cells):
    written(
        tmp_path, lines(*({"id": k, "y": cell} for k, cell in enumerate(cells))), "metadata.jsonl", ["0.png", "1.png"]
    )
    with pytest.raises(UserError, match=r"metadata.jsonl:1: y must be a list of labels, got \["):
        read(tmp_path)


def test_lists_of_indices_are_labels(tmp_path):
    text = lines({"id": 0, "y": [1, 0]}, {"id": 1, "y": [1]})
    written(tmp_path, text, "metadata.jsonl", ["0.png", "1.png"])
    assert read(tmp_path)[0]["train"] == {"0.png": [1, 1], "1.png": [0, 1]}


def test_an_integer_too_large_for_a_number_is_text(tmp_path):
    written(tmp_path, lines({"id": "a", "y": 10**400}, *({"id": c, "y": 1} for c in "bcd")), "metadata.jsonl")
    with pytest.raises(UserError, match=r"metadata.jsonl:1: y must be a number, got '1000"):
        read(tmp_path)


def test_bytes_are_not_labels(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    save(tmp_path, FOUR)
    parquet.write_table(arrow.table({"file_name": FOUR, "y": [b"x"] * 4}), tmp_path / "metadata.parquet")
    with pytest.raises(UserError, match=r"metadata.parquet:1: y must be text, a number or a list of labels, got bytes"):
        read(tmp_path)


@pytest.mark.parametrize("names", [("1", "1.0"), ("big cat", "big  cat"), ("k\u00e4fer", "ka\u0308fer")])
def test_classes_that_are_written_in_two_ways_are_reported(tmp_path, caplog, names):
    written(tmp_path, f"file_name,y\na,{names[0]}\nb,{names[1]}\nc,dog\nd,dog\n")
    assert len(set(classes(tmp_path, label_kind="class").values())) == 3
    assert "classes may be the same: " in caplog.text


def test_columns_of_ids_are_not_labels(tmp_path):
    written(tmp_path, "id,image,index,y\n7,b.png,0,1.5\n8,a.png,1,2.5\n9,c.png,2,3\n10,d.png,3,4\n")
    assert read(tmp_path)[0]["train"] == {"a.png": [2.5], "b.png": [1.5], "c.png": [3], "d.png": [4]}


def test_the_same_image_may_be_named_in_two_ways(tmp_path, caplog):
    written(tmp_path, "file_name,y\na.png,cat\n./a,cat\nb,dog\nc,dog\nd,dog\n", "Metadata.CSV")
    assert classes(tmp_path)["a.png"] == "cat" and "Metadata.CSV:3: repeats line 2" in caplog.text


def test_the_longest_end_of_an_absolute_path_decides(tmp_path):
    files = ["1.png", "cat/1.png", "dog/1.png"]
    written(tmp_path, "file_name,y\n/x/1.png,emu\n/x/cat/1.png,cat\nC:\\x\\dog\\1,dog\n", files=files)
    assert classes(tmp_path) == dict(zip(files, ["emu", "cat", "dog"], strict=True))
