"""`classify`: a table of the images that can be read, and a line for each one that cannot."""

import csv

import pytest
import torch

from genmods.cli import dispatch
from genmods.data.files import Picture, write_image
from genmods.data.images import to_float
from genmods.data.sources.image_folder import ImageFolder
from genmods.models import VAE, Classifier
from genmods.networks.autoencoder import Autoencoder
from genmods.networks.base import Network
from genmods.runs import folders

NAMES = ["dark", "grey", "light"]


class Brightness(Network):
    """Logits that favour the class whose brightness -1, 0, 1 is nearest to the image's mean."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        return -self.scale * (x.mean((1, 2, 3))[:, None] - torch.tensor([-1.0, 0.0, 1.0], device=x.device)).square()


@pytest.fixture(params=[1, 3])
def model(request, monkeypatch):
    task = Classifier(Brightness(), num_classes=3, in_channels=request.param, image_size=8, class_names=NAMES)
    monkeypatch.setattr(folders, "load", lambda path: task.eval())
    return task


def image(path, value, channels=3, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, Picture(torch.full((channels, *size), value)))


def classify(*arguments):
    return dispatch(["classify", "--ckpt_path", "run", *map(str, arguments)])


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path):
    """Images of several modes and sizes, and two files that are not images."""
    image(tmp_path / "in/a.png", -1.0)
    image(tmp_path / "in/b.png", 0.0, channels=1)
    image(tmp_path / "in/deep/c.jpg", 1.0, size=(20, 13))
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    (tmp_path / "in/empty.png").write_bytes(b"")
    return tmp_path / "in"


def test_a_broken_file_is_named_and_the_rest_done(model, folder, tmp_path, capsys):
    assert classify("--input", folder, "--out", tmp_path / "deep/classes.csv", "--batch_size", 2) == 2
    told = capsys.readouterr()
    lines = told.err.strip().splitlines()
    assert len(lines) == 2 and "broken.png: is not an image" in lines[0] and "empty.png: is empty" in lines[1]
    assert "3 images" in told.out
    table = rows(tmp_path / "deep/classes.csv")
    assert [(row["image"], row["class"]) for row in table] == [
        (str(folder / "a.png"), "dark"),
        (str(folder / "b.png"), "grey"),
        (str(folder / "deep/c.jpg"), "light"),
    ]
    for row in table:
        shares = [float(row[name]) for name in NAMES]
        assert sum(shares) == pytest.approx(1, abs=1e-5) and float(row["probability"]) == max(shares)


def test_the_table_goes_to_the_output_without_a_file(model, folder, capsys):
    assert classify("--input", folder / "a.png", folder / "deep") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "image,class,probability,dark,grey,light"
    assert [line.split(",")[1] for line in lines[1:]] == ["dark", "light"]


def test_nothing_but_broken_files(model, folder, tmp_path, capsys):
    assert classify("--input", folder / "broken.png", "--out", tmp_path / "classes.csv") == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
    assert rows(tmp_path / "classes.csv") == []


def test_images_are_brought_to_the_model_as_a_folder_of_them_for_training(model, tmp_path, monkeypatch):
    """Other sizes, an alpha channel and 16 bits: bit for bit what ImageFolder reads."""
    wave = torch.linspace(-1, 1, 19).expand(3, 12, 19).contiguous()
    image(tmp_path / "in/a.png", 0.3, size=(30, 9))
    write_image(tmp_path / "in/b.png", Picture(wave, torch.linspace(0, 1, 12)[None, :, None].expand(1, 12, 19)))
    write_image(tmp_path / "in/c.png", Picture(wave[:1], bits=16))
    seen = []
    monkeypatch.setattr(model, "probabilities", lambda images: seen.append(images) or torch.eye(3)[: len(images)])
    assert classify("--input", tmp_path / "in", "--out", tmp_path / "classes.csv") == 0
    folder = ImageFolder(root=str(tmp_path / "in"), channels=model.image_shape[0])
    expected = to_float(folder.read_at(8)["train"].pixels, folder.levels)
    torch.testing.assert_close(torch.cat(seen), expected, atol=1.1 / 255, rtol=0)


def test_a_batch_changes_nothing(model, tmp_path):
    for k in range(7):
        image(tmp_path / f"in/{k}.png", k / 3 - 1, size=(5 + k, 9))
    for size in (1, 3, 256):
        assert classify("--input", tmp_path / "in", "--out", tmp_path / f"{size}.csv", "--batch_size", size) == 0
    assert (tmp_path / "1.csv").read_text() == (tmp_path / "3.csv").read_text() == (tmp_path / "256.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--input", "nowhere.png"], "nowhere.png: no such file or folder"),
        (["--input", "."], "no images in this folder"),
        (["--input", "a.png", "--batch_size", "0"], "--batch_size must be at least 1, got 0"),
        ([], "--input"),
    ],
)
def test_mistakes_are_one_line(model, tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(tmp_path)
    assert classify(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert line in error and "\n" not in error


def test_a_model_that_does_not_classify(monkeypatch, tmp_path, capsys):
    task = VAE(Autoencoder(image_size=8, width=4), image_size=8)
    monkeypatch.setattr(folders, "load", lambda path: task)
    image(tmp_path / "a.png", 0.0)
    assert classify("--input", tmp_path / "a.png") == 2
    assert capsys.readouterr().err.strip() == "--ckpt_path run: expected a classifier, got VAE"


HOSTILE = ["=cmd|' :C calc'!A0.png", "+1.png", "-n.png", "@SUM(1).png", "\x1b[2J\n.png", "\udcff.png"]


def test_names_are_neither_formulas_nor_control_characters(model, tmp_path, capsys):
    model.class_names = ["=1+1", "a\x1b[2J", "-1"]
    for name in HOSTILE:
        image(tmp_path / "in" / "a.png", 0.0)
        (tmp_path / "in" / "a.png").rename(tmp_path / "in" / name)
    assert classify("--input", tmp_path / "in", "--out", tmp_path / "classes.csv") == 0
    assert classify("--input", tmp_path / "in") == 0
    with (tmp_path / "classes.csv").open(newline="", encoding="utf-8") as file:
        header, *table = list(csv.reader(file))
    assert header[3:] == ["'=1+1", "a\\x1b[2J", "-1"]
    assert len(table) == len(HOSTILE) and all(float(row[2]) > 0 for row in table)
    assert "\x1b" not in capsys.readouterr().out
    folder = str(tmp_path / "in")
    assert {row[0].removeprefix(f"{folder}/") for row in table} == {
        name.replace("\x1b", "\\x1b").replace("\n", "\\n").replace("\udcff", "\\udcff") for name in HOSTILE
    }


def test_a_name_relative_to_the_folder_is_not_a_formula(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    image(tmp_path / "a.png", 0.0)
    (tmp_path / "a.png").rename("=1+1.png")
    assert classify("--input", "=1+1.png") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("'=1+1.png,")


def test_an_interrupted_call_is_continued_by_the_same_call(model, folder, tmp_path):
    whole, out = tmp_path / "whole.csv", tmp_path / "parts.csv"
    assert classify("--input", folder, "--out", whole) == 2
    predictions, seen = model.predictions, []

    def interrupted(images):
        if len(seen) == 1:
            seen.append(None)
            raise KeyboardInterrupt
        seen.append(len(images))
        return predictions(images)

    model.predictions = interrupted
    assert classify("--input", folder, "--out", out, "--batch_size", 1) == 130
    assert not out.is_file(), "no table that is not whole"
    with (tmp_path / ".parts.csv.unfinished/rows.jsonl").open("a") as file:
        file.write('["half a')
    assert classify("--input", folder, "--out", out, "--batch_size", 1) == 2
    assert out.read_bytes() == whole.read_bytes()
    assert seen == [1, None, 1, 1] and not (tmp_path / ".parts.csv.unfinished").exists()
