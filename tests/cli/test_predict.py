"""`predict`: a row for each test image, by any task that predicts; others are refused."""

import csv
import io

import pytest
import torch

from genmods.cli import dispatch
from genmods.config.recipe import load
from genmods.data.files import Picture, write_image
from genmods.runs import folders
from genmods.runs.fit import build_data

DATA = "{name: synthetic, side: 8, train_images: 64, test_images: 20, batch_size: 16"
NETWORK = '{name: cnn, layers: ["conv 4", "linear 8"]}'
RECIPES = {
    "classification": ("class", ["image", "class", "probability", "disc", "square", "diamond", "cross"]),
    "multilabel": ("multilabel", ["image", "disc", "square", "diamond", "cross"]),
    "regression": ("place", ["image", "height", "width", "radius"]),
}


def targets_of(columns):
    return len(set(columns) - {"image", "class", "probability"})


@pytest.mark.parametrize("task", RECIPES)
def test_a_row_an_image_with_the_tasks_own_numbers(tmp_path, monkeypatch, capsys, task):
    monkeypatch.chdir(tmp_path)
    targets, columns = RECIPES[task]
    (tmp_path / "r.yaml").write_text(
        f"task: {{name: {task}, network: {NETWORK}}}\n"
        f"data: {DATA}, targets: {targets}}}\ntrainer: {{max_steps: 2, accelerator: cpu, precision: 32}}\n"
    )
    assert dispatch(["fit", "--config", "r.yaml", "--quiet"]) == 0
    capsys.readouterr()
    assert dispatch(["predict", "--config", "r.yaml", "--quiet"]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert header == columns and [row[0] for row in rows] == [str(i) for i in range(20)]
    values = torch.tensor([[float(value) for value in row[-targets_of(columns) :]] for row in rows])
    model, images = folders.load("runs/r"), build_data(load("r.yaml")).splits["test"].pixels / 127.5 - 1
    with torch.no_grad():
        expected = model.predictions(images)
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-4)


def test_predict_writes_what_classify_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i, label in enumerate(("dark", "light") * 6):
        path = tmp_path / "images" / ("train" if i < 8 else "test") / label / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, Picture(torch.rand(3, 9, 8) + (0 if label == "light" else -1)))
    (tmp_path / "r.yaml").write_text(
        f"task: {{name: classification, network: {NETWORK}, augment_test: flip}}\n"
        "data: {name: image_folder, root: images, image_size: 8, batch_size: 3}\n"
        "trainer: {max_steps: 2, accelerator: cpu, precision: 32}\n"
    )
    assert dispatch(["fit", "--config", "r.yaml", "--quiet"]) == 0
    capsys.readouterr()
    assert dispatch(["predict", "--config", "r.yaml", "--quiet"]) == 0
    predicted = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert dispatch(["classify", "--ckpt_path", "runs/r", "--input", "images/test"]) == 0
    classified = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert predicted[0][1:] == classified[0][1:] and len(predicted) == len(classified) == 5
    for ours, theirs in zip(predicted[1:], classified[1:], strict=True):
        assert ours[1] == theirs[1]
        # the two make batches of different sizes, and six decimals are written
        assert [float(value) for value in ours[2:]] == pytest.approx([float(value) for value in theirs[2:]], abs=2e-6)


def test_a_task_that_does_not_predict_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.yaml").write_text(
        "task: {name: gan, network: {name: generator, width: 4}, discriminator: {name: discriminator, width: 4}}\n"
        f"data: {DATA}}}\ntrainer: {{max_steps: 1, accelerator: cpu}}\n"
    )
    assert dispatch(["fit", "--config", "g.yaml", "--quiet"]) == 0
    assert dispatch(["predict", "--config", "g.yaml", "--quiet"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "predict: requires a task with predict_step, got GANTask"
