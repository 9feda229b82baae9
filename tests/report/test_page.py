"""The report page: every section, no network; what a browser makes of it is in test_browser."""

import json
import os
import re
import tracemalloc

import pytest
from PIL import Image

from genmods.core.errors import UserError
from genmods.report.folder import differences, find_runs, flatten, newest_run, pictures, read_run, thin
from genmods.report.page import render, write_report
from genmods.tracking.base import write_json
from genmods.tracking.csv import MetricsFile

RECIPE = "seed: 7\ntask:\n  name: diffusion\n  network: {name: unet, width: 32}\ndata: {name: digits}\n"


def make_run(folder, width=32, shift=0.0):
    logger = MetricsFile()
    logger.begin(folder, {})
    for step in range(0, 400, 10):
        logger.log_metrics({"train/loss": 1 / (step + 1) + shift, "train/lr": 1e-3}, step=step)
    for step in (99, 199, 299):
        logger.log_metrics({"val/loss": 100 / step, "val/fid_2k": 900 / step, "val/acc": step / 300}, step=step)
        (folder / "samples").mkdir(exist_ok=True)
        for series in ("step", "raw", "strip", "features"):
            Image.new("RGB", (8, 8), (step % 255, 0, 0)).save(folder / "samples" / f"{series}_{step + 1:06d}.png")
    (folder / "recipe.yaml").write_text(RECIPE.replace("32", str(width)) + "# </script><b>\n")
    content = {
        "confusion": {"step": 300, "class_names": ["cat", "<dog>"], "counts": [[9, 1], [2, 8]]},
        "loss_by_noise": {"log_snr_edges": [4, 0, -4], "history": [{"step": 100, "loss": [0.5, None]}]},
        "environment": {"packages": {"torch": "2.0"}, "git": None, "hardware": {"devices": []}},
        "timing": {"train_seconds": 30.0, "validate_seconds": 2.0, "steps": 400},
        "evaluation": {
            "figures": [{"name": "fid_2k", "value": 3.0, "low": 2.0, "high": 4.0, "floor": 1.0, "note": ""}]
        },
        "test": {"images": 9, "data_hash": "ab", "figures": {"test/loss": 0.3}},
    }
    for name, value in content.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def embedded(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1].replace("<\\/", "</"))


def test_the_page_holds_all_and_refers_to_nothing(tmp_path):
    path = write_report([make_run(tmp_path / "ddpm" / "one")])
    text = path.read_text()
    assert path.name == "report.html"
    assert not re.search(r"""(src|href)=["']?(https?:)?//|url\(|@import|fetch\(|XMLHttpRequest""", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    (run,) = embedded(text)["runs"]
    assert run["name"] == "ddpm/one" and run["steps"] == 400
    assert [figure["name"] for figure in run["figures"]] == ["val/fid_2k", "val/acc", "val/loss"]
    assert run["figures"][0]["best"] == pytest.approx(900 / 299) and run["figures"][0]["step"] == 300
    assert [series["name"] for series in run["pictures"]] == ["grid", "raw", "strip", "features"]
    assert [picture["step"] for picture in run["pictures"][0]["steps"]] == [100, 200, 300]
    assert [figure["name"] for figure in run["evaluation"]] == ["fid_2k", "test/loss"]


def test_a_figure_that_is_not_finite_is_shown_as_such(tmp_path):
    folder, figures = make_run(tmp_path / "run"), {"test/loss": float("nan"), "test/psnr": float("inf")}
    write_json(folder / "test.json", {"images": 9, "data_hash": "ab", "figures": figures})
    (run,) = embedded(write_report([folder], tmp_path / "new" / "page.html").read_text())["runs"]
    assert [figure["value"] for figure in run["evaluation"]] == [3.0, "NaN", "Infinity"]


def test_a_comparison_shows_the_differences(tmp_path):
    folders = [make_run(tmp_path / "r" / name, width) for name, width in (("a", 32), ("b", 64), ("c", 32))]
    data = embedded(render([read_run(folder) for folder in folders]))
    assert data["differences"] == [["task.network.width", ["32", "64", "32"]]]
    assert write_report(folders).name == "comparison.html"
    assert [run.name for run in find_runs(tmp_path)] == ["r/a", "r/b", "r/c"]


def test_a_bare_run_and_no_run(tmp_path):
    (tmp_path / "recipe.yaml").write_text("seed: 1\n")
    assert write_report([tmp_path]).is_file()
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path / "none")


def test_a_folder_of_runs_is_its_newest_run(tmp_path):
    old, new = make_run(tmp_path / "ddpm" / "z"), make_run(tmp_path / "ddpm" / "a")
    for folder, time in ((old, 1_000), (new, 2_000)):
        for file in folder.iterdir():
            os.utime(file, (time, time))
    assert newest_run(tmp_path / "ddpm") == new
    assert newest_run(old) == old
    assert newest_run(tmp_path / "none") == tmp_path / "none"


def test_flat_settings_of_nested_recipes():
    recipe = {"a": 1, "b": {"c": None, "d": [1, 2]}, "e": [{"name": "x"}, "y"]}
    assert flatten(recipe) == {"a": "1", "b.c": "", "b.d": "[1, 2]", "e.0.name": "x", "e.1": "y"}


def test_recipes_that_agree_have_no_differences(tmp_path):
    assert differences([read_run(make_run(tmp_path / "a")), read_run(make_run(tmp_path / "b"))]) == []


def test_thinned_curves_keep_their_extremes():
    points = [(i, 1.0) for i in range(100_000)]
    points[54_321] = (54_321, 99.0)
    kept = thin(points, 1000)
    assert len(kept) <= 1002 and (54_321, 99.0) in kept and kept[-1] == points[-1]
    assert thin(points[:10]) == points[:10]


def test_many_pictures_are_thinned_with_first_and_last(tmp_path):
    (tmp_path / "samples").mkdir()
    for step in range(100):
        Image.new("RGB", (1, 1)).save(tmp_path / "samples" / f"step_{step:06d}.png")
    steps = [picture["step"] for picture in pictures(tmp_path)[0]["steps"]]
    assert len(steps) == 24 and steps[0] == 0 and steps[-1] == 99


def test_reading_a_run_takes_memory_for_its_files_only(tmp_path):
    folder = make_run(tmp_path / "run")
    read_run(folder)
    tracemalloc.start()
    read_run(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
