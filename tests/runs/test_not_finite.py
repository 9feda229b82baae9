"""Non-finite losses and gradients: the message, and the effects of stop, skip_step and rollback."""

import pytest
import torch

from genmods.callbacks import finite
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.runs.fit import fit
from genmods.tasks import ClassificationTask, DiffusionTask
from support.small_runs import CNN, DIFFUSION, SHAPES, TRAINER, classifier, recipe

TINY = DIFFUSION | {"network": {"name": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": []}}


@pytest.fixture
def poison(workplace, monkeypatch):
    """A function that lets steps of a classifier or a diffusion model go wrong."""

    def give(what, *steps):
        def after_backward(task):
            if task.trainer.global_step + 1 in steps:
                for parameter in task.parameters():
                    parameter.grad.fill_(torch.nan if what == "nan" else 1e30)

        def image(task, batch, index, original=DiffusionTask.training_step):
            if task.trainer.global_step + 1 in steps:
                batch["image"][1] = torch.inf
            return original(task, batch, index)

        def training_step(task, batch, index, original=DiffusionTask.training_step):
            out = original(task, batch, index)
            if task.trainer.global_step + 1 not in steps:
                return out
            error = out["error"].clone()
            error[1] = torch.nan
            return out | {"loss": out["loss"] * torch.nan, "error": error}

        def buffers(task, batch, index, original=ClassificationTask.training_step):
            if task.trainer.global_step + 1 in steps:
                next(buffer for name, buffer in task.named_buffers() if "running_var" in name).fill_(torch.inf)
            return original(task, batch, index)

        if what == "loss":
            monkeypatch.setattr(DiffusionTask, "training_step", training_step)
        elif what == "image":
            monkeypatch.setattr(DiffusionTask, "training_step", image)
        elif what == "buffer":
            monkeypatch.setattr(ClassificationTask, "training_step", buffers)
        else:
            monkeypatch.setattr(ClassificationTask, "on_after_backward", after_backward)

    return give


def run(steps, policy, every=1, keep=-1, ckpt_path=None, more=()):
    callbacks = [
        {"name": "checkpoint", "every_n_steps": every, "keep": keep},
        {"name": "finite", "on_nonfinite": policy},
        {"name": "ema", "decays": [0.9]},
    ]
    trainer = TRAINER | {"max_steps": steps}
    made = classifier(CNN, name="numbers", callbacks=callbacks, trainer=trainer, overrides=more)
    return fit(made, ckpt_path, quiet=True)


def at(folder, name):
    return files.load(folder / "checkpoints" / f"{name}.ckpt")


def state(checkpoint):
    return files.digest([checkpoint["state_dict"], [state["state"] for state in checkpoint["optimizer_states"]]])


@pytest.mark.parametrize("what", ["loss", "image"])
def test_the_line_names_step_samples_and_noise_levels(poison, what):
    poison(what, 2)
    with pytest.raises(UserError, match=r"^step 2: the loss is not finite \(samples \d+, log-SNR -?[\d.e+-]+\); noth"):
        fit(recipe(TINY, SHAPES, name="noisy", trainer=TRAINER | {"max_steps": 3}), quiet=True)


@pytest.mark.parametrize("what", ["nan", "spike"])
def test_a_gradient_stops_the_run_at_its_step(poison, what):
    poison(what, 2)
    line = r"^step 2: the norm of the gradient is not finite \(samples \d+, \d+, \d+, \d+, \d+ and 95 more\)"
    with pytest.raises(UserError, match=line):
        run(3, "stop", every=1)


def test_a_clipped_spike_is_accepted(poison):
    poison("spike", 2)
    run(3, "stop", more=["--trainer.gradient_clip_val=1.0"])


@pytest.mark.parametrize("what", ["nan", "spike"])
def test_a_skipped_step_leaves_everything_as_it_was(poison, what, capsys):
    poison(what, 3)
    folder = run(4, "skip_step")
    states = [state(at(folder, f"step_00000{step}")) for step in (2, 3, 4)]
    assert states[0] == states[1] != states[2]
    assert "step 3: the norm of the gradient is not finite" in (told := capsys.readouterr().err)
    assert "; the step was skipped" in told


def test_a_rollback_takes_weights_averages_and_optimizer_of_the_last_checkpoint(poison, capsys):
    poison("nan", 3)
    folder = run(4, "rollback")
    two, three, four = (at(folder, f"step_00000{step}") for step in (2, 3, 4))
    assert state(two) == state(three) != state(four)
    assert three["ema"]["updates"] == two["ema"]["updates"] + 1
    assert "back to the weights of step 2, with the batches after step 3" in capsys.readouterr().err


def test_a_rollback_of_a_buffer(poison):
    poison("buffer", 3)
    folder = run(4, "rollback")
    assert state(at(folder, "step_000002")) == state(at(folder, "step_000003"))


def test_a_rollback_is_the_same_after_a_resume(poison):
    poison("nan", 1, 4, 6)
    whole = at(run(7, "rollback", every=3, keep=0), "last")
    folder = run(5, "rollback", every=3, keep=0)
    assert [path.name for path in (folder / "checkpoints").glob("step_*")] == ["step_000003.ckpt"]
    again = at(run(7, "rollback", every=3, keep=0, ckpt_path=str(folder)), "last")
    assert state(whole) == state(again)
    assert files.digest(whole["ema"]) == files.digest(again["ema"])


def test_a_run_resumes_from_its_beginning(poison):
    poison("nan", 1)
    folder = run(3, "rollback", every=9)
    whole = at(folder, "last")
    first = folder / "checkpoints" / "step_000000.ckpt"
    assert state(at(run(3, "rollback", every=9, ckpt_path=str(first)), "last")) == state(whole)


@pytest.mark.parametrize(("policy", "told"), [("skip_step", "3 steps were skipped"), ("rollback", "3 times the run")])
def test_a_run_stops_after_repeated_faults(poison, monkeypatch, policy, told):
    monkeypatch.setattr(finite, "_MOST", 3)
    poison("nan", *range(2, 9))
    with pytest.raises(UserError, match=f"^step 4: .*; {told}"):
        run(9, policy, every=20)


def test_a_device_is_read_back_before_anything_is_saved(poison, monkeypatch, capsys):
    poison("nan", 2)
    monkeypatch.setattr(finite, "_at_each_step", lambda *_: False)
    folder = run(5, "rollback", every=4, more=["--trainer.val_check_interval=4"])
    assert state(at(folder, "step_000000")) == state(at(folder, "step_000004"))
    assert "step 2: " in (told := capsys.readouterr().err) and "with the batches after step 4" in told
