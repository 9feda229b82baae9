"""`runs`, `report` and `evaluate` on two small runs of real recipes."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from genmods.cli import dispatch
from genmods.cli.evaluate import other_images
from genmods.data.files import Picture, write_image
from genmods.data.module import ImageData
from genmods.data.sources.digits import Digits
from genmods.models.diffusion import DiffusionModel
from genmods.runs import folders as saved
from genmods.tracking.series import read_series
from support.interrupting import interrupted_at_file

DIFFUSION = """task:
  name: diffusion
  network: {name: unet, width: 8, multipliers: [1]}
  process: cosine
  prediction: v
  sampler: {name: ddim, steps: 2}
callbacks: [{name: sample_grid, n: 4}, loss_by_noise, report]
"""
RECIPES = {"classes": "task: {name: classification, network: {name: resnet, width: 4}}\n", "images": DIFFUSION}
COMMON = "seed: 1\ndata: {name: digits, limit: 64, batch_size: 32}\noptimizer: {name: adamw, lr: 1e-3}\n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("commands")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        for name, text in RECIPES.items():
            (root / f"{name}.yaml").write_text(text + COMMON + "trainer: {max_steps: 4, accelerator: cpu}\n")
            assert dispatch(["fit", "--config", f"{name}.yaml", "--quiet"]) == 0
        yield {name: str(next((root / "runs" / name).iterdir()).relative_to(root)) for name in RECIPES}


def test_runs_lists_them_with_figures(runs, capsys):
    assert dispatch(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [runs["classes"], runs["images"]]
    assert "val/acc" in lines[0] and "val/loss" in lines[1] and all(" 4 steps" in line for line in lines)


def test_no_runs_is_one_line(tmp_path, capsys):
    assert dispatch(["runs", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_report_of_one_and_of_two(runs, tmp_path, capsys):
    assert dispatch(["report", runs["images"]]) == 0
    assert dispatch(["report", *runs.values(), "--out", str(tmp_path / "both.html")]) == 0
    assert (tmp_path / "both.html").stat().st_size > 10_000


def test_evaluate_writes_figures_with_their_count(runs, tmp_path, capsys):
    out = tmp_path / "figures.json"
    command = ["evaluate", "--ckpt_path", runs["images"], "--n", "20", "--features", runs["classes"]]
    assert dispatch([*command, "--metrics", "fid,kid,is,precision,recall,nearest,bpd", "--out", str(out)]) == 0
    content = json.loads(out.read_text())
    names = [figure["name"] for figure in content["figures"]]
    assert names == ["fid_20", "kid_20", "is_20", "precision_20", "recall_20", "memorized", "nearest_ratio", "bpd"]
    assert content["features"].startswith("classifier-")
    printed = capsys.readouterr()
    assert "fid_20" in printed.out and content["features"] in printed.err
    folder = Path(runs["images"])
    series = read_series(folder / "metrics.csv")
    assert [step for step, _ in series["test/fid_20"]] == [3] and len(series["val/loss"]) == 2
    assert (folder / "samples" / "nearest_000004.png").is_file()
    assert "nearest_ratio" in (folder / "report.html").read_text()


@pytest.mark.parametrize("k", [2, 5, 8, 11])
def test_an_interrupted_evaluation_is_continued_by_the_same_call(runs, tmp_path, capsys, monkeypatch, k):
    monkeypatch.setattr("genmods.cli.evaluate.record", lambda *_: None)
    made, sample = [], DiffusionModel.sample
    monkeypatch.setattr(
        DiffusionModel, "sample", lambda self, n, **given: made.append(given["first"]) or sample(self, n, **given)
    )
    command = ["evaluate", "--ckpt_path", runs["images"], "--n", "20", "--batch_size", "6", "--features", "pixels"]
    command += ["--metrics", "precision,kid,bpd", "--quiet", "--out"]
    assert dispatch([*command, str(tmp_path / "whole.json")]) == 0
    assert made == [0, 6, 12, 18]
    with interrupted_at_file(k):
        assert dispatch([*command, str(tmp_path / "parts.json")]) == 130
    assert "partial results are in" in capsys.readouterr().err
    assert dispatch([*command, str(tmp_path / "parts.json")]) == 0
    assert len(made) <= 9, "at most the batch that was not kept is made again"
    assert (tmp_path / "parts.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_evaluate_on_other_data(runs, tmp_path):
    out = tmp_path / "figures.json"
    command = ["evaluate", "--ckpt_path", runs["images"], "--n", "20", "--features", "pixels", "--out", str(out)]
    found = []
    for override in ([], ["--data.limit=40"]):
        assert dispatch([*command, "--metrics", "fid", *override]) == 0
        found.append(json.loads(out.read_text()))
        assert found[-1]["data"] == override
    assert found[0]["figures"] != found[1]["figures"]


def test_images_of_another_kind_are_compared_with_the_test_images(runs, tmp_path):
    for i, image in enumerate(torch.rand(5, 3, 20, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1):
        write_image(tmp_path / "folder" / f"{i}.png", Picture(image))
    out = tmp_path / "figures.json"
    command = ["evaluate", "--ckpt_path", runs["images"], "--metrics", "anomaly,accuracy", "--out", str(out)]
    assert dispatch([*command, "--against", str(tmp_path / "folder"), "--data.limit=15"]) == 0
    anomaly, accuracy = json.loads(out.read_text())["figures"]
    assert anomaly["name"] == "anomaly_auroc" and 0 <= anomaly["low"] <= anomaly["value"] <= anomaly["high"] <= 1
    assert anomaly["note"] == "15 test images, 5 other images"
    assert accuracy["name"] == "accuracy" and 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"]


def test_a_data_set_is_prepared_like_the_data_of_the_model():
    data = ImageData(Digits(), image_size=12)
    images, names = other_images("digits", data)
    assert images.shape[1:] == data.info.shape and images.dtype == torch.uint8 and int(images.max()) <= 16
    everything = torch.cat([data.arrays(split)[0] for split in ("train", "val", "test")])
    assert len(names) == len(images) == len(everything)
    assert images.float().mean() == pytest.approx(everything.float().mean().item(), abs=0.05)


def test_a_metric_that_fails_leaves_the_figures_before_it(runs, tmp_path, capsys):
    out = tmp_path / "new" / "figures.json"
    command = ["evaluate", "--ckpt_path", runs["images"], "--n", "20", "--features", "pixels", "--out", str(out)]
    assert dispatch([*command, "--metrics", "precision,is"]) == 2
    assert [figure["name"] for figure in json.loads(out.read_text())["figures"]] == ["precision_20"]
    assert "precision_20" in capsys.readouterr().out


def test_evaluate_a_classifier_by_its_own_features(runs, tmp_path):
    out = tmp_path / "figures.json"
    assert dispatch(["evaluate", "--ckpt_path", runs["classes"], "--metrics", "knn,clustering", "--out", str(out)]) == 0
    assert all(
        0 <= figure["value"] <= 1 for figure in json.loads(out.read_text())["figures"] if "ari" not in figure["name"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "fidd"], "did you mean"),
        (["--metrics", "anomaly"], "anomaly: this metric requires other images"),
        (["--metrics", "anomaly", "--against", "gone"], "gone: no such file or folder"),
        (["--metrics", ","], "--metrics"),
        (["--metrics", "fid"], "features"),
        (["--metrics", "fid", "--n", "1"], "--n"),
        (["--metrics", "fid", "--batch_size", "0"], "--batch_size"),
        (["--metrics", "fid,recall", "--n", "3", "--features", "pixels"], "recall requires at least 4 samples, got 3"),
        (["--metrics", "fid", "--features", "nowhere"], "nowhere"),
        (
            ["--metrics", "bpd", "--data.image_size=16"],
            "data must have shape [1, 8, 8] like the model's samples, got [1, 16, 16]",
        ),
        (["--metrics", "bpd", "--task.network.width=4"], "unknown option '--task.network.width'"),
        (["--metrics", "bpd", "--data.limt=4"], "did you mean 'limit'?"),
    ],
)
def test_mistakes_are_one_line(runs, capsys, options, message):
    assert dispatch(["evaluate", "--ckpt_path", runs["images"], *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0


def test_a_classifier_of_other_channels_judges_nothing(runs, capsys, monkeypatch):
    load = saved.load
    monkeypatch.setattr(
        saved, "load", lambda path: SimpleNamespace(image_shape=(3, 8, 8)) if path == "rgb" else load(path)
    )
    assert dispatch(["evaluate", "--ckpt_path", runs["images"], "--metrics", "fid", "--features", "rgb"]) == 2
    assert capsys.readouterr().err.endswith("--features rgb: images must have 3 channels, got 1\n")
