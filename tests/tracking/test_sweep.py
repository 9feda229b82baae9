"""The shipped sweep: W&B's agent replaces `${args}` by `--KEY=VALUE`, and watches a metric that the recipe logs."""

from pathlib import Path

import pytest
import yaml

from genmods.config import recipe as recipes
from genmods.metrics.base import count_name
from genmods.tracking.wandb import WandbRun

ROOT = Path(__file__).parents[2]
SWEEP = yaml.safe_load((ROOT / "docs" / "sweep.yaml").read_text())


def choices(parameter):
    return parameter.get("values") or [parameter["min"], parameter["max"]]


@pytest.mark.parametrize("end", [0, -1])
def test_the_recipe_takes_what_the_agent_gives(end):
    *command, config, arguments = SWEEP["command"]
    assert command == ["python", "-m", "genmods", "fit", "--config"] and arguments == "${args}"
    given = {name: choices(parameter)[end] for name, parameter in SWEEP["parameters"].items()}
    recipe = recipes.load(ROOT / config, [f"--{name}={value}" for name, value in given.items()])
    plain = recipe.plain()
    assert plain["optimizer"]["lr"] == given["optimizer.lr"]
    assert plain["task"]["network"]["width"] == given["task.network.width"]
    assert plain["task"]["prediction"]["name"] == given["task.prediction"]


def test_the_metric_is_one_that_the_recipe_logs():
    recipe = recipes.load(ROOT / SWEEP["command"][-2])
    (evaluation,) = [part for part in recipe.callbacks if part.entry.name == "evaluation"]
    names = [f"val/{metric.entry.name}_{count_name(evaluation.given['n'])}" for metric in evaluation.given["metrics"]]
    assert SWEEP["metric"]["name"] in names


def test_the_run_has_the_id_that_the_agent_gives(monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "abcd1234")
    assert WandbRun().run_id == "abcd1234"
