"""Every command prepares new image files as training did, whatever the recipe asked for and whatever the data had."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.core import checkpoint as files
from genmods.data.decoding import decode_files
from genmods.data.images import to_float
from genmods.data.preparation import Preparation
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import fit
from support.small_runs import classifier

LAYERS = {"name": "cnn", "layers": ["avgpool 4", "linear 16"]}


def cutouts(root, size=(8, 12)):
    """Black and white squares on transparent ground: over black, white ones are the only thing to be seen."""
    for name, value in (("black", 0), ("white", 255)):
        (root / name).mkdir(parents=True)
        for i in range(12):
            pixels = np.zeros((*size, 4), np.uint8)
            pixels[2:6, 1 + i % 3 : 7 + i % 3] = (value, value, value, 255)
            Image.fromarray(pixels).save(root / name / f"{i}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cutouts"))
        root = Path("icons")
        cutouts(root)
        data = {"name": "image_folder", "root": str(root), "background": "black", "batch_size": 8, "fit": "pad"}
        trainer = {"max_steps": 60, "enable_progress_bar": False, "accelerator": "cpu"}
        made = classifier(
            LAYERS, {**data, "image_size": [8, 10]}, trainer=trainer, optimizer={"name": "adamw", "lr": 0.03}
        )
        yield fit(made, quiet=True)


def answers(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_classify_sees_what_training_saw(trained, tmp_path, capsys):
    out = tmp_path / "c.csv"
    assert dispatch(["classify", "--ckpt_path", str(trained), "--input", "icons", "--out", str(out)]) == 0
    rows = answers(out)
    right = [row["class"] == row["image"].split("/")[-2] for row in rows]
    assert len(right) == 24 and all(right)
    record = Checkpoint.read(folders.find_checkpoint(trained)).preparation
    assert record == Preparation((8, 10), 3, "pad", "black", None, 256)
    assert files.load(folders.find_checkpoint(trained))["preparation"]["background"] == "black"
    task = folders.load(trained)
    paths = [Path("icons") / "white" / f"{i}.png" for i in range(3)]
    seen = to_float(decode_files(paths, record).pixels)
    expected = task.probabilities(seen)[:, 1].tolist()
    found = [float(next(row for row in rows if row["image"].endswith(f"white/{i}.png"))["white"]) for i in range(3)]
    assert found == pytest.approx(expected, abs=1e-3)


def test_the_record_is_exported_and_look_uses_it(trained, tmp_path):
    model = tmp_path / "m.safetensors"
    assert dispatch(["export", "--ckpt_path", str(trained), "--out", str(model)]) == 0
    assert Checkpoint.read(model).preparation == Checkpoint.read(folders.find_checkpoint(trained)).preparation
    picture = "icons/white/0.png"
    assert dispatch(["look", "--ckpt_path", str(model), "--input", picture, "--out", str(tmp_path / "seen")]) == 0
    assert (tmp_path / "seen" / "0_gradcam.png").is_file()


def test_a_checkpoint_without_the_record_is_refused_in_one_line(trained, tmp_path, capsys):
    content = files.load(folders.find_checkpoint(trained))
    del content["preparation"]
    files.save(content, tmp_path / "old.ckpt")
    assert dispatch(["classify", "--ckpt_path", str(tmp_path / "old.ckpt"), "--input", "icons"]) == 2
    assert "has no preparation" in capsys.readouterr().err


def test_data_with_another_preparation_are_reported(trained, capsys):
    recipe = str(trained / "recipe.yaml")
    assert dispatch(["test", "--config", recipe, "--ckpt_path", str(trained), "--quiet"]) == 0
    assert "prepared otherwise" not in capsys.readouterr().err
    command = ["test", "--config", recipe, "--ckpt_path", str(trained), "--quiet", "--data.background=white"]
    assert dispatch(command) == 0
    assert "data.background was black and is white" in capsys.readouterr().err


def test_a_range_that_was_found_is_that_of_every_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, low, high in (("dim", 0, 1500), ("bright", 2500, 4096)):
        for split, count in (("train", 16), ("test", 4)):
            (tmp_path / "x" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(low, high, (8, 8)).astype(np.uint16)
                Image.fromarray(pixels).save(tmp_path / "x" / split / name / f"{i}.png")
    data = {"name": "image_folder", "root": "x", "batch_size": 8}
    trainer = {"max_steps": 40, "enable_progress_bar": False, "accelerator": "cpu"}
    run = fit(classifier(LAYERS, data, trainer=trainer, optimizer={"name": "adamw", "lr": 0.03}), quiet=True)
    record = Checkpoint.read(folders.find_checkpoint(run)).preparation
    assert record is not None and record.range == (0, 4095) and record.levels == 4096
    dim = tmp_path / "x/test/dim"
    assert dispatch(["classify", "--ckpt_path", str(run), "--input", str(dim), "--out", "c.csv"]) == 0
    assert {row["class"] for row in answers("c.csv")} == {"dim"}  # though none of these alone needs 12 bits
    (tmp_path / "y").mkdir()
    (tmp_path / "x/train").rename(tmp_path / "y/train")
    for path in (tmp_path / "y/train/bright").glob("*.png"):
        Image.fromarray(random.integers(0, 1500, (8, 8)).astype(np.uint16)).save(path)
    capsys.readouterr()
    command = ["test", "--config", str(run / "recipe.yaml"), "--ckpt_path", str(run), "--data.root=y", "--quiet"]
    assert dispatch(command) == 0
    assert "prepared otherwise" not in capsys.readouterr().err


def test_other_files_are_counted_by_suffix(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("genmods.data.walk.find_spec", lambda name: None)  # without pillow-heif
    cutouts(tmp_path / "x")
    for i in range(30):
        (tmp_path / "x/black" / f"{i}.HEIC").write_bytes(b"no image here")
    (tmp_path / "x/black/notes.docx").write_text("words")
    from genmods.data.sources.image_folder import ImageFolder

    ImageFolder("x").read()
    line = next(line for line in caplog.messages if "skipped" in line)
    assert "30 .HEIC files: install pillow-heif" in line and "1 .docx file" in line and "\n" not in line


def test_restoration_keeps_the_range_of_deep_files(tmp_path, monkeypatch):
    from genmods.data.files import read_image, write_image

    values = torch.arange(64).view(8, 8) * 65
    Image.fromarray(values.numpy().astype(np.uint16)).save(tmp_path / "x.png")
    picture = read_image(tmp_path / "x.png", (0.0, 4095.0))
    assert float(picture.image.max()) == 1.0
    write_image(tmp_path / "y.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "y.png")), values.numpy())
