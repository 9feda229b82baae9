"""Labels from tables through every command: metrics from files equal those in memory, and mismatches are reported."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from genmods.cli import dispatch
from genmods.config.build import build, create
from genmods.config.recipe import load
from genmods.core import checkpoint as files
from genmods.data.files import Picture, write_image
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.diffusion.conditioning import Unconditional
from genmods.diffusion.conditioning.numbers import Numbers
from genmods.models import model_of
from genmods.tracking.series import read_series

SHAPES = {"side": 8, "train_images": 48, "test_images": 16}
NETWORK = '{name: cnn, layers: ["conv 4", "pool 2", "linear 8"]}'
MEMORY = "{name: synthetic, side: 8, train_images: 48, test_images: 16, batch_size: 16, targets: %s}"
FILES = "{name: image_folder, root: %s, batch_size: 16}"
EACH = pytest.mark.parametrize(
    ("targets", "joined"), [("place", False), ("multilabel", False), ("multilabel", True), ("class", False)]
)
TASKS = {"place": "regression", "multilabel": "multilabel", "class": "classification"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def export(targets: str, folder: Path, joined: bool = False, bits: int = 8, suffix: str = ".png", **shape) -> None:
    """The images of `synthetic` as files, and its labels in a table beside them."""
    source = create("data", "synthetic", targets=targets, **SHAPES, **shape)
    rows = []
    for split, images in source.read().items():
        for i, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
            path = folder / split / f"{i:03}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, Picture(to_float(pixels), bits=bits))
            cells = [source.class_names[label]] if targets == "class" else label.tolist()
            if joined:
                cells = ["|".join(name for name, has in zip(source.class_names, cells, strict=True) if has)]
            rows.append([f"{split}/{path.name}", *cells])
    columns = ["shape"] if joined or targets == "class" else source.class_names
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file_name", *columns], *rows])


def recipe(name: str, task: str, data: str, **settings) -> str:
    trainer = "{max_steps: 4, val_check_interval: 2, accelerator: cpu, precision: 32}"
    extra = "".join(f", {key}: {value}" for key, value in settings.items())
    path = f"{name}.yaml"
    Path(path).write_text(
        f"seed: 3\ntask: {{name: {task}, network: {NETWORK}{extra}}}\ndata: {data}\ntrainer: {trainer}\n"
        "optimizer: {name: adamw, lr: 1e-2}\n"
    )
    return path


def run(*arguments: str, status: int = 0) -> None:
    assert dispatch(list(arguments)) == status


def figures(name: str) -> dict:
    (path,) = Path("runs", name).glob("*/test.json")
    return json.loads(path.read_text())["figures"]


@EACH
def test_figures_from_files_are_those_in_memory_and_predictions_have_the_columns_of_the_table(targets, joined, capsys):
    export(targets, Path("images"), joined)
    for name, data in (("memory", MEMORY % targets), ("files", FILES % "images")):
        path = recipe(name, TASKS[targets], data)
        run("fit", "--config", path, "--quiet")
        run("test", "--config", path, "--quiet")
    found, expected = figures("files"), figures("memory")
    main = {"place": "test/r2", "multilabel": "test/map", "class": "test/acc"}[targets]
    assert found.keys() == expected.keys() and main in found
    if targets == "place" or (targets == "multilabel" and not joined):
        assert found == expected  # bit for bit

    capsys.readouterr()
    tables = []
    predict, classify = ["predict", "--config", path, "--quiet"], ["classify", "--ckpt_path", "runs/files", "--input"]
    for command in (predict, [*classify, "images/test"]):
        run(*command)
        tables.append(list(csv.DictReader(io.StringIO(capsys.readouterr().out))))
    predicted, classified = tables
    with Path("images/metadata.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert set(table[0]) <= set(predicted[0]) and predicted[0].keys() == classified[0].keys()
    assert [row["file_name"] for row in predicted] == [row["file_name"] for row in table if row["file_name"] < "tr"]
    assert [row["file_name"] for row in classified] == [f"images/{row['file_name']}" for row in predicted]
    for ours, theirs in zip(predicted, classified, strict=True):
        for column in list(ours)[1:]:
            same = ours[column] == theirs[column]
            assert same or float(ours[column]) == pytest.approx(float(theirs[column]), rel=1e-4, abs=2e-6)


@pytest.mark.parametrize(
    ("targets", "main", "bits", "channels"),
    [("place", "test/r2", 16, 3), ("place", "test/r2", 8, 5), ("multilabel", "test/map", 16, 5)],
)
def test_figures_from_deep_files_of_any_channels_are_those_in_memory(targets, main, bits, channels):
    export(targets, Path("images"), bits=bits, suffix=".png" if channels == 3 else ".tif", channels=channels)
    memory = (MEMORY % targets).replace("}", f", channels: {channels}}}")
    for name, data in (("memory", memory), ("files", FILES % "images")):
        path = recipe(name, TASKS[targets], data)
        run("fit", "--config", path, "--quiet")
        run("test", "--config", path, "--quiet")
    found, expected = figures("files"), figures("memory")
    assert main in found and found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_numbers_come_back_in_their_own_units(capsys):
    """Targets a thousand times as large, and shifted: the same predictions in those units, the same R2."""
    export("place", Path("images"))
    export("place", Path("large"))
    with Path("large/metadata.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    with Path("large/metadata.csv").open("w", newline="") as file:
        scaled = [[name, *(1000 * float(value) + 5000 for value in values)] for name, *values in rows]
        csv.writer(file).writerows([header, *scaled])
    answers = {}
    for name in ("images", "large"):
        path = recipe(name, "regression", FILES % name)
        run("fit", "--config", path, "--quiet")
        run("test", "--config", path, "--quiet")
        capsys.readouterr()
        run("predict", "--config", path, "--quiet")
        answers[name] = [
            list(map(float, row[1:])) for row in list(csv.reader(io.StringIO(capsys.readouterr().out)))[1:]
        ]
    for small, large in zip(answers["images"], answers["large"], strict=True):
        assert large == pytest.approx([1000 * value + 5000 for value in small], rel=1e-3)
    small, large = figures("images"), figures("large")
    assert large["test/mae"] == pytest.approx(1000 * small["test/mae"], rel=1e-3)
    assert large["test/r2"] == pytest.approx(small["test/r2"], abs=1e-3)


@pytest.mark.parametrize("targets", TASKS)
@pytest.mark.parametrize("data", ["memory", "files"])
def test_a_task_is_refused_labels_that_it_does_not_take(targets, data, capsys, monkeypatch):
    export(targets, Path("images"))
    section = MEMORY % targets if data == "memory" else FILES % "images"
    for kind, task in TASKS.items():
        path = recipe("r", task, section)
        for command in (["check", path], ["fit", "--config", path, "--quiet"]):
            if kind == targets:
                continue
            run(*command, status=2)
            error = capsys.readouterr().err
            assert error.count("\n") == 1 and error.startswith("r.yaml:2: task: ")
            assert f"; the task for them is {TASKS[targets]}" in error
    run("check", recipe("r", TASKS[targets], section))
    assert not Path("runs").exists()


def test_class_folders_and_built_in_sources_are_not_regression(capsys):
    for name in ("a", "b"):
        Path("images", name).mkdir(parents=True)
        write_image(
            Path("images", name, "0.png"),
            Picture(to_float(create("data", "synthetic", **SHAPES).read()["train"].pixels[0])),
        )
    for data in (FILES % "images", "digits", "mnist", "cifar10"):
        run("check", recipe("r", "regression", data), status=2)
        expected = (
            "requires data with numbers, but this data has one class per image; the task for them is classification"
        )
        assert expected in capsys.readouterr().err
    run("check", recipe("r", "classification", FILES % "nowhere"))
    Path("images/metadata.csv").write_text("file_name,breed\na/0.png,x\nc/0.png,y\n")
    run("check", recipe("r", "classification", FILES % "images"), status=2)
    assert "images/metadata.csv:3: there is no image 'c/0.png' in images" in capsys.readouterr().err


def test_a_test_split_without_labels_is_for_predict(capsys):
    export("class", Path("images"))
    table = Path("images/metadata.csv").read_text().splitlines()
    Path("images/metadata.csv").write_text("\n".join(line for line in table if not line.startswith("test/")))
    path = recipe("own", "classification", FILES % "images")
    run("fit", "--config", path)
    assert "test 16 without labels, for predict" in capsys.readouterr().err
    run("test", "--config", path, "--quiet", status=2)
    assert capsys.readouterr().err.splitlines()[-1] == "test: the test images have no labels; use predict"
    run("predict", "--config", path, "--quiet")
    assert len(capsys.readouterr().out.splitlines()) == 17


def test_the_best_checkpoint_may_be_that_of_the_class_mean(capsys):
    path = recipe("own", "classification", MEMORY % "class", class_weights="balanced", focal_gamma=2.0)
    with Path(path).open("a") as file:
        file.write("callbacks: [{name: checkpoint, monitor: val/acc_class_mean}]\n")
    run("fit", "--config", path, "--quiet")
    (folder,) = Path("runs/own").iterdir()
    (state,) = [s for s in files.load(folder / "checkpoints/best.ckpt")["callbacks"].values() if "monitor" in s]
    best = max(value for _, value in read_series(folder / "metrics.csv")["val/acc_class_mean"])
    assert state["monitor"] == {"name": "val/acc_class_mean", "mode": "max"}
    assert state["best"]["value"] == pytest.approx(best)


def test_a_metric_that_is_undefined_is_left_out_with_one_line(caplog, capsys):
    """One validation image has no variance to explain, and R^2 is not computed."""
    path = recipe("own", "regression", MEMORY.replace("48", "14") % "place")
    run("fit", "--config", path, "--quiet")
    assert caplog.text.count("val/r2 is not logged: requires 2 images with different targets") == 1
    (folder,) = Path("runs/own").iterdir()
    series = read_series(folder / "metrics.csv")
    assert len(series["val/mae"]) == 2 and "val/r2" not in series


@pytest.mark.parametrize("targets", ["place", "multilabel"])
def test_numbers_and_several_labels_are_not_classes_of_a_diffusion_model(targets):
    """Without a conditioning they are ignored; `numbers` takes them."""
    task = "{name: diffusion, network: {name: unet, width: 8, cond_size: %d}, process: cosine, prediction: v%s}"
    facts = ImageData(create("data", "synthetic", targets=targets, **SHAPES)).info.settings()
    for size, conditioning, expected in ((0, "", Unconditional), (3, ", conditioning: numbers", Numbers)):
        if expected is Unconditional or targets == "place":
            path = Path("d.yaml")
            path.write_text(f"task: {task % (size, conditioning)}\ndata: {MEMORY % targets}\n")
            model = model_of(build(load(path).task, facts))
            assert isinstance(model.conditioning, expected) and model.denoiser.network.num_classes == 0


def test_a_target_without_variance_is_refused_by_its_name(capsys):
    export("place", Path("images"))
    with Path("images/metadata.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    with Path("images/metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *([*row[:-1], "3"] for row in rows)])
    run("fit", "--config", recipe("r", "regression", FILES % "images"), "--quiet", status=2)
    expected = "targets must differ among the training images, got one radius for all"
    assert capsys.readouterr().err.splitlines()[-1] == f"r.yaml:2: task: {expected}"


@pytest.mark.parametrize(("separator", "setting"), [(";", ""), (" ", ", separator: ' '")])
def test_several_labels_are_written_with_the_separator_of_the_table(separator, setting, capsys):
    export("multilabel", Path("images"), joined=True)
    table = Path("images/metadata.csv")
    table.write_text(table.read_text().replace("|", separator))
    path = recipe("own", "multilabel", f"{{name: image_folder, root: images, batch_size: 16{setting}}}")
    run("fit", "--config", path, "--quiet", "--trainer.max_steps=1")
    capsys.readouterr()
    run("classify", "--ckpt_path", "runs/own", "--input", "images/test")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row in rows:
        assert row["shape"] == separator.join(
            name for name in ("cross", "diamond", "disc", "square") if float(row[name]) >= 0.5
        )
    assert any(separator in row["shape"] for row in rows)


def test_classes_that_are_numbers_have_a_hint(capsys):
    export("class", Path("images"))
    names = ["disc", "square", "diamond", "cross"]
    text = Path("images/metadata.csv").read_text()
    for number, name in enumerate(names):
        text = text.replace(f",{name}", f",{number}")
    Path("images/metadata.csv").write_text(text)
    for command in (["check"], ["fit", "--quiet", "--config"]):
        run(*command, recipe("r", "classification", FILES % "images"), status=2)
        assert "the task for them is regression, or data.label_kind: class for these columns" in capsys.readouterr().err
    run("check", recipe("r", "classification", FILES.replace("}", ", label_kind: class}") % "images"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "--data.val_fraction=0.1",
            "images; task.class_weights: balanced or data.sampling: balanced gives all the same",
        ),
        ("--data.sampling=balanced", ""),
        ("--task.class_weights=balanced", ""),
    ],
)
def test_unbalanced_classes_are_reported_unless_they_are_balanced(change, told, capsys):
    export("class", Path("images"))
    table = Path("images/metadata.csv").read_text().splitlines()
    discs = [line for line in table if line.startswith("train") and line.endswith(",disc")]
    Path("images/metadata.csv").write_text("\n".join(line for line in table if line not in discs[2:]) + "\n")
    path = recipe("own", "classification", FILES % "images")
    run("fit", "--config", path, "--quiet", "--trainer.max_steps=1", "--trainer.val_check_interval=1", change)
    error = capsys.readouterr().err
    assert ("the classes are unbalanced: disc " in error) == bool(told) and told in error


def test_quiet_still_reports_splits_and_classes_without_images(capsys):
    source = create("data", "synthetic", targets="class", **SHAPES)
    images = source.read()["train"]
    for i, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        write_image(Path(f"images/train/{source.class_names[label]}/{i}.png"), Picture(to_float(pixels)))
    Path("images/train/hexagon").mkdir()
    Path("images/val").mkdir()
    path = recipe("own", "classification", FILES % "images")
    run("fit", "--config", path, "--quiet", "--trainer.max_steps=1", "--trainer.val_check_interval=null")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["val: no images (empty folder)", "classes without images: hexagon"]


@pytest.mark.parametrize("command", [["check"], ["fit", "--quiet", "--config"]])
def test_rows_that_cannot_be_used_are_a_line_each(command, capsys):
    export("class", Path("images"))
    table = Path("images/metadata.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], "a.png,disc", *lines[2:], "b.png,disc"]))
    run(*command, recipe("r", "classification", FILES % "images"), status=2)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith("2 rows cannot be used; data.on_error: skip ignores them:")
    assert second.startswith("  images/metadata.csv:2: there is no image 'a.png'") and "metadata.csv:66: " in third
