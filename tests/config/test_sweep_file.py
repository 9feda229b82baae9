"""Sweep files in W&B's format: grids, random settings, and what is refused with file, line and key."""

from pathlib import Path

import pytest

from genmods.config.sweep import read_sweep
from genmods.config.text import RecipeError

HEAD = 'command: [python, -m, genmods, fit, --config, cnn, --trainer.max_steps=4, "${args}"]\n'
GRID = """method: grid
metric: {name: val/acc, goal: maximize}
parameters:
  optimizer.lr: {values: [1e-3, 3e-3]}
  task: {parameters: {label_smoothing: {value: 0.1}}}
  seed: {min: 1, max: 3}
"""
RANDOM = """method: random
run_cap: 50
parameters:
  optimizer.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
  optimizer.weight_decay: {min: 0.0, max: 0.1}
  seed: {min: 1, max: 3}
  task.label_smoothing: {values: [0.0, 0.1], probabilities: [0.0, 1.0]}
"""


@pytest.fixture
def sweep(tmp_path):
    def sweep(text, head=HEAD):
        path = tmp_path / "sweep.yaml"
        path.write_text(head + text)
        return read_sweep(path)

    return sweep


def test_a_grid_has_every_combination(sweep):
    found = sweep(GRID)
    trials = found.trials()
    assert len(trials) == 6 and len({str(trial) for trial in trials}) == 6
    assert trials[0] == {"optimizer.lr": 1e-3, "task.label_smoothing": 0.1, "seed": 1}
    assert found.trials(2) == trials[:2] and not found.minimize and found.metric == "val/acc"
    recipes = [found.recipe_of(trial) for trial in trials]
    assert [recipe.seed for recipe in recipes] == [1, 2, 3, 1, 2, 3] and len({recipe.name for recipe in recipes}) == 6
    assert recipes[3].optimizer.given["lr"] == 3e-3 and recipes[3].trainer.given["max_steps"] == 4


def test_random_settings_depend_on_seed_and_number(sweep):
    found = sweep(RANDOM)
    trials = found.trials()
    assert len(trials) == 50 and found.trials(5) == trials[:5] and found.trials(5, seed=1) != trials[:5]
    rates = sorted(trial["optimizer.lr"] for trial in trials)
    assert 1e-4 <= rates[0] < 3e-4 and 3e-3 < rates[-1] <= 1e-2 and 5e-4 < rates[25] < 2e-3
    assert {trial["seed"] for trial in trials} == {1, 2, 3} and {trial["task.label_smoothing"] for trial in trials} == {
        0.1
    }
    assert all(0 <= trial["optimizer.weight_decay"] <= 0.1 for trial in trials)


def test_the_shipped_sweep_file_needs_wandb(tmp_path):
    with pytest.raises(RecipeError, match=r"sweep.yaml:\d+: method: must be grid or random; others.* got 'bayes'"):
        read_sweep(Path(__file__).parents[2] / "docs" / "sweep.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GRID.replace("method", "methd"), "sweep.yaml:2: methd: a sweep has no key 'methd'; did you mean 'method'"),
        (GRID.replace("maximize", "up"), "sweep.yaml:3: metric.goal: must be minimize or maximize, got 'up'"),
        (GRID.replace("{values: [1e-3, 3e-3]}", "3"), "sweep.yaml:5: parameters.optimizer.lr: must be a block"),
        (GRID.replace("[1e-3, 3e-3]", "[]"), "sweep.yaml:5: parameters.optimizer.lr: a grid requires values"),
        (RANDOM.replace("log_uniform_values", "beta"), "parameters.optimizer.lr.distribution: no distribution 'beta'"),
        (
            RANDOM.replace("min: 1e-4, ", ""),
            "optimizer.lr: the distribution log_uniform_values requires min",
        ),
        (RANDOM.replace("1e-4", "-1"), "parameters.optimizer.lr: the distribution log_uniform_values refuses"),
        (RANDOM.replace("run_cap: 50\n", ""), "run_cap: is missing; random runs need their number"),
        (RANDOM.replace("50", "0"), "sweep.yaml:3: run_cap: must be at least 1, got 0"),
        (GRID.replace("optimizer.lr", "optimizer.lrr"), "sweep.yaml:5: optimizer.lrr: .*did you mean 'lr'"),
    ],
)
def test_mistakes_are_told_with_their_place(sweep, text, message):
    with pytest.raises(RecipeError, match=message):
        found = sweep(text)
        found.recipe_of(found.trials()[0])


def test_a_command_without_a_recipe_is_refused(sweep):
    with pytest.raises(RecipeError, match=r"sweep.yaml:1: command: has no recipe"):
        sweep(GRID, 'command: [genmods, fit, "${args}"]\n')
