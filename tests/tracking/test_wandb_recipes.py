"""Offline W&B runs of the shipped ddpm and cnn recipes, shortened, read back from their run files."""

import json
import math
import os

import pytest
import yaml
from PIL import Image

from genmods.config import recipe as recipes
from genmods.config.shipped import shipped
from genmods.runs.fit import fit
from genmods.tracking.names import METRICS, PICTURES, TABLES, direction, documented
from genmods.tracking.series import read_series
from support.toys import config, history, read_records, run_files

SHORT = ["--trainer.max_steps=8", "--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=4"]
SHORT += ["--trainer.log_every_n_steps=2", "--trainer.accelerator=cpu", "--data.limit=96", "--data.batch_size=32"]
SHORT += ["--logger.group=study", "--logger.job_type=train", "--logger.tags=[quick]", "--logger.notes=a try"]
RECIPES = {
    "ddpm": [
        "--task.network.width=8",
        "--task.sampler.steps=3",
        "--callbacks.1.n=4",
        "--callbacks.5.steps=2",
        "--callbacks.7.n=6",
    ],
    "cnn": ["--task.network.layers=['conv 4', 'linear 8']"],
}
ROWS, VALIDATIONS = [1, 3, 5, 7], [3, 7]
"""Lightning's steps of the logged batches and of the validations, within 8 steps."""
LOGGED = {"train/loss", "train/lr", "train/grad_norm", "train/update_norm", "train/update_ratio"}
LOGGED |= {"train/images_per_s", "train/memory_gb"}
JUDGED = {"ddpm": {"val/loss", "val/fid_6"}, "cnn": {"val/loss", "val/acc", "val/acc_class_mean", "val/ece"}}
DRAWN = {
    "ddpm": {"grid", "raw", "strip", "denoise", "inpaint", "features"},
    "cnn": {"features", "worst"},
}
FILLED = {"ddpm": {"samples/table": 6}, "cnn": {"val/confusion": 10, "val/worst": None}}


class Run:
    """A run that was fitted, and resumed for as many steps again, with what both W&B run files hold."""

    def __init__(self, name, root):
        self.name = name
        recipe = recipes.load(shipped()[name], [*SHORT, *RECIPES[name]])
        self.folder = fit(recipe, quiet=True)
        self.recipe = yaml.safe_load((self.folder / "recipe.yaml").read_text())
        longer = recipes.load(shipped()[name], [*SHORT, *RECIPES[name], "--trainer.max_steps=16"])
        assert fit(longer, str(self.folder), quiet=True) == self.folder
        self.files = run_files(self.folder)
        self.first, self.second = (history(file) for file in self.files)

    def steps(self, key, rows=None):
        return [row["_step"] for row in rows or self.first if any(k == key or k.startswith(f"{key}/") for k in row)]


@pytest.fixture(scope="module", params=RECIPES)
def run(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for variable in [variable for variable in os.environ if variable.startswith("WANDB_")]:
            patch.delenv(variable)
        patch.setenv("WANDB_MODE", "offline")
        yield Run(request.param, root)


def test_every_metric_is_logged_at_all_its_steps(run):
    for name in LOGGED:
        assert run.steps(name) == ROWS, name
    for name in JUDGED[run.name]:
        assert run.steps(name) == VALIDATIONS, name
    assert run.steps("train/parameters") == [0]
    noise = {key for row in run.first for key in row if key.startswith("noise/")}
    assert bool(noise) == (run.name == "ddpm") and {step for key in noise for step in run.steps(key)} <= set(
        VALIDATIONS
    )
    assert all(row["trainer/global_step"] == row["_step"] for row in run.first)


def test_what_is_logged_is_in_the_table_and_in_the_metrics_file(run):
    series = read_series(run.folder / "metrics.csv")
    stages = ("train", "val", "noise")
    names = {key for row in run.first for key in row if key.split("/")[0] in stages and key.count("/") == 1}
    names -= set(TABLES)
    assert {documented(name) for name in names} <= set(METRICS)
    for name in names:
        rows = [(row["_step"], row[name]) for row in run.first + run.second if name in row]
        assert series[name] == [(step, pytest.approx(value, rel=1e-6)) for step, value in rows if math.isfinite(value)]


def test_pictures_are_there_and_open(run):
    for series in DRAWN[run.name]:
        assert f"samples/{series}" in PICTURES and run.steps(f"samples/{series}") == VALIDATIONS
    files = run.files[0].parent / "files"
    shown = [row[key] for row in run.first for key in row if key.startswith("samples/") and key.endswith("/path")]
    pictures = shown or [row[key]["path"] for row in run.first for key in row if key.startswith("samples/")]
    assert len(pictures) >= 2 * len(DRAWN[run.name])
    for path in pictures:
        if path.endswith(".png"):
            with Image.open(files / path) as image:
                image.load()
                assert min(image.size) >= 8 and image.mode == "RGB"


def test_tables_are_there_and_hold_their_rows(run):
    for key, count in FILLED[run.name].items():
        assert key in TABLES and run.steps(key) == VALIDATIONS
        for path in (run.files[0].parent / "files" / "media" / "table").glob(f"{key}_*.table.json"):
            table = json.loads(path.read_text())
            assert len(table["data"]) == (count or len(table["data"])) > 0
            assert all(len(row) == len(table["columns"]) for row in table["data"])
            for cell in (cell for row in table["data"] for cell in row if isinstance(cell, dict)):
                with Image.open(path.parents[len(key.split("/")) + 1] / cell["path"]) as image:
                    assert image.size[0] >= 8


def test_the_configuration_is_the_resolved_recipe(run):
    found = config(run.files[0])
    assert {key: found[key] for key in run.recipe} == run.recipe
    assert found["seed"] == 7 and len(found["data_hash"]) >= 16
    assert {"packages", "git", "hardware", "command"} <= set(found["environment"])
    assert {"torch", "lightning", "genmods"} <= set(found["environment"]["packages"])


def test_group_and_tags_are_those_of_the_recipe_and_summaries_the_best(run):
    records = read_records(run.files[0])
    (found,) = [record.run for record in records if record.HasField("run")]
    assert (found.run_group, found.job_type, list(found.tags), found.notes) == ("study", "train", ["quick"], "a try")
    summaries = {record.metric.name: record.metric.summary for record in records if record.HasField("metric")}
    for name in JUDGED[run.name]:
        assert (summaries[name].min, summaries[name].max) == (direction(name) == "min", direction(name) == "max")


def test_a_resumed_run_continues_the_same_run(run):
    ids = [record.run.run_id for file in run.files for record in read_records(file) if record.HasField("run")]
    assert len(run.files) == 2 and len(set(ids)) == 1
    assert run.steps("train/loss", run.second) == [step + 8 for step in ROWS]
    assert run.steps("val/loss", run.second) == [step + 8 for step in VALIDATIONS]
    steps = [row["_step"] for row in run.first + run.second]
    assert steps == sorted(set(steps))
