"""A finished run resumed with a changed recipe: what takes effect, what is refused, and what is kept."""

import pytest

from genmods.cli import dispatch
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.runs.evaluate import evaluate
from genmods.runs.fit import fit
from genmods.tracking.series import read_series
from support.small_runs import CNN, DIFFUSION, SHAPES, classifier, recipe

pytestmark = pytest.mark.usefixtures("workplace")


def test_a_run_continued_with_another_width_is_one_line(digits, capsys):
    recipe, before = str(digits / "recipe.yaml"), (digits / "recipe.yaml").read_bytes()
    wider = "--task.network.layers=[conv 6, pool 2, linear 8]"
    assert dispatch(["fit", "--config", recipe, "--ckpt_path", str(digits), "--quiet", wider]) == 2
    error = capsys.readouterr().err.strip()
    refused = f"{digits}/checkpoints/last.ckpt: the checkpoint does not fit this ClassificationTask: size mismatch"
    assert error.startswith(refused) and "\n" not in error
    assert (digits / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task": DIFFUSION}, "the task classification, not diffusion"),
        ({"optimizer": {"name": "sgd", "lr": 0.1}}, "the optimizer adamw, not sgd"),
    ],
)
def test_a_run_of_another_task_or_optimizer_is_not_continued(digits, change, told):
    before = (digits / "recipe.yaml").read_bytes()
    parts = {"task": {"name": "classification", "network": CNN}} | change
    with pytest.raises(UserError, match=rf"cannot resume: the checkpoint has {told}"):
        fit(recipe(**parts, name="digits"), ckpt_path=str(digits), quiet=True)
    assert (digits / "recipe.yaml").read_bytes() == before


@pytest.mark.parametrize("schedule", [None, {"name": "cosine", "warmup": 0}])
def test_what_a_continued_run_changes_takes_effect(workplace, schedule):
    def fitted(steps, lr, decay, **place):
        optimizer, trainer = {"name": "adamw", "lr": lr, "weight_decay": decay}, {"max_steps": steps}
        changes = {"optimizer": optimizer, "schedule": schedule, "trainer": trainer}
        run = fit(classifier(CNN, name="changed", **changes), quiet=True, **place)
        (state,) = files.load(run / "checkpoints/last.ckpt")["optimizer_states"]
        return run, state

    run, first = fitted(2, 1e-3, 0.1)
    _, second = fitted(4, 1e-2, 0.2, ckpt_path=str(run))
    assert {group["weight_decay"] for group in first["param_groups"]} == {0.0, 0.1}
    assert {group["weight_decay"] for group in second["param_groups"]} == {0.0, 0.2}
    assert {group["lr"] for group in second["param_groups"]} == {0.0 if schedule else 1e-2}
    assert {float(entry["step"]) for entry in second["state"].values()} == {4.0}, "its moments continue"


def test_another_monitor_begins_a_new_best(workplace):
    def fitted(steps, mode, **place):
        checkpoint = {"name": "checkpoint", "monitor": "val/loss", "mode": mode}
        changes = {"callbacks": [checkpoint], "trainer": {"max_steps": steps, "val_check_interval": 1}}
        run = fit(classifier(CNN, name="monitored", **changes), quiet=True, **place)
        return run, files.load(run / "checkpoints/best.ckpt")

    run, first = fitted(1, "max")
    _, second = fitted(2, "min", ckpt_path=str(run))
    assert (first["global_step"], second["global_step"]) == (1, 2)


def test_a_run_is_not_continued_to_a_step_behind_it(digits):
    with pytest.raises(UserError, match=r"cannot resume: the checkpoint is at step 2, trainer.max_steps is 1"):
        fit(classifier(CNN, name="digits", trainer={"max_steps": 1}), ckpt_path=str(digits), quiet=True)


def test_validate_finds_the_figure_of_the_fit_again(workplace):
    network = {"name": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": []}
    given = recipe({**DIFFUSION, "network": network}, name="noisy")
    run = fit(given, quiet=True)
    found = read_series(run / "metrics.csv")["val/loss"][-1][1]
    figures = evaluate(given, "validate", str(run), quiet=True).found
    assert figures["val/loss"] == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("name", ["in_channels", "class_names"])
def test_a_model_does_not_judge_other_data(digits, name):
    other = SHAPES | ({"channels": 3} if name == "in_channels" else {})
    with pytest.raises(UserError, match=rf"data must have {name} .* like the model's training data"):
        evaluate(classifier(CNN, other, name="digits"), "test", str(digits), quiet=True)


def test_model_settings_of_a_trained_model_are_reported_as_ignored(digits, capsys):
    given = recipe({"name": "classification", "network": CNN, "augment_test": "flip_shift"}, name="digits")
    evaluate(given, "test", str(digits), quiet=True)
    assert "model settings come from the checkpoint; ignoring task.augment_test of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": {"name": "digits", "batch_size": 50, "limit": 200}}, "data.batch_size must be 100, got 50"),
        ({"callbacks": [{"name": "ema", "decays": [0.5]}]}, "callbacks.ema.decays must be those of the checkpoint"),
    ],
)
def test_a_refused_continuation_leaves_the_run_as_it_was(digits, changes, told):
    before = {path: path.read_bytes() for path in digits.iterdir() if path.is_file()}
    averaged = {"callbacks": [{"name": "ema", "decays": [0.9]}], "trainer": {"max_steps": 4}}
    with pytest.raises(UserError, match=told):
        fit(classifier(CNN, name="digits", **(averaged | changes)), ckpt_path=str(digits), quiet=True)
    assert {path: path.read_bytes() for path in digits.iterdir() if path.is_file()} == before
