"""Parts of earlier runs: `{from: RUN}` in a recipe, `--KEY.from=RUN` on the command line."""

import os
import shutil

import pytest
import torch

from genmods.cli import dispatch
from genmods.config.build import build
from genmods.config.parts import From
from genmods.config.text import RecipeError, write
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.core.places import runs_folder
from genmods.data.images import to_float
from genmods.metrics.features import classifier_features
from genmods.models import Denoises
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.fit import build_data, build_task, fit
from genmods.runs.reuse import resolve
from support.small_runs import CNN, DIFFUSION, DIGITS, SHAPES, TRAINER, classifier, recipe

pytestmark = pytest.mark.usefixtures("workplace")


def built(recipe):
    return build_task(resolve(recipe), build_data(recipe).info)


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def finetuned(digits):
    """A run whose network came from another run that is gone now."""
    gone = shutil.copytree(digits, runs_folder() / "gone")
    run = fit(classifier({"from": str(gone)}, SHAPES, name="finetuned"), quiet=True)
    shutil.rmtree(gone)
    yield run
    shutil.rmtree(run.parent)


def test_the_averaged_weights_are_taken(digits):
    network = built(classifier({"from": str(digits)})).model.network
    assert same(network.state_dict(), folders.load(digits).network.state_dict())
    assert not same(network.state_dict(), folders.load(digits, raw=True).network.state_dict())


@pytest.mark.parametrize("network", [CNN, "resnet", {"from": "runs/nowhere"}])
def test_an_override_replaces_whatever_stood_there(digits, network):
    taken = classifier(network, overrides=[f"--task.network.from={digits}"])
    assert isinstance(taken.task.model.given["network"], From)
    assert same(built(taken).model.network.state_dict(), folders.load(digits).network.state_dict())


def test_a_name_replaces_an_earlier_run():
    assert (
        classifier({"from": "runs/nowhere"}, overrides=["--task.network=cnn"]).task.model.given["network"].entry.name
        == "cnn"
    )


def test_a_folder_of_runs_means_its_newest(digits):
    # a clock that was set back: the newest by time, not by name
    copied = shutil.copytree(digits, digits.parent / "2999-01-01_00-00-00")
    for path in copied.rglob("*.ckpt"):
        os.utime(path, (0, 0))
    older = classifier({"from": str(digits.parent / "2999-01-01_00-00-00")})
    assert folders.find_checkpoint("runs/digits") == folders.find_checkpoint(digits)
    assert folders.find_checkpoint("last") == folders.find_checkpoint(digits)
    assert built(older).model.network is not None
    newest = built(classifier({"from": "runs/digits"})).model.network
    assert same(newest.state_dict(), folders.load(digits).network.state_dict())


def test_a_head_for_other_classes_is_new_and_reported(digits, capsys):
    old, new = (
        folders.load(digits).network.state_dict(),
        built(classifier({"from": str(digits)}, SHAPES)).model.network.state_dict(),
    )
    changed = [name for name in new if new[name].shape != old[name].shape]
    assert changed and all(new[name].shape[0] == 3 for name in changed)
    assert all(torch.equal(new[name], old[name]) for name in new if name not in changed)
    told = capsys.readouterr().err
    assert f"{len(changed)} newly initialised: {', '.join(changed)}" in told and told.count("\n") == 1


def test_what_an_earlier_run_fitted_to_its_images_stays(workplace):
    network = {"name": "airbench", "widths": [8, 8]}
    whitened = fit(classifier(network, name="whitened"), quiet=True)
    later = classifier({"from": str(whitened)})
    data = build_data(later)
    task = build_task(resolve(later), data.info)
    task.fit_statistics({"image": -to_float(data.splits["train"].pixels, 17)})
    assert same(task.model.network.state_dict(), folders.load(whitened).network.state_dict())


def test_the_new_run_needs_the_earlier_one_no_more(finetuned):
    state = files.load(folders.find_checkpoint(finetuned))
    assert state["recipe"]["task"]["network"]["name"] == "cnn"
    task = folders.load(finetuned)
    assert task.probabilities(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_a_run_is_continued_without_the_earlier_one(finetuned, capsys):
    assert dispatch(["fit", "--config", str(finetuned / "recipe.yaml"), "--quiet"]) == 2
    assert "runs/gone: no such checkpoint" in capsys.readouterr().err
    before = files.load(folders.find_checkpoint(finetuned, "last"))
    overrides = ["--ckpt_path", "last", "--trainer.max_steps=4", "--quiet"]
    assert dispatch(["fit", "--config", str(finetuned / "recipe.yaml"), *overrides]) == 0
    after = files.load(folders.find_checkpoint(finetuned, "last"))
    assert (before["global_step"], after["global_step"]) == (2, 4)
    assert after["recipe"]["task"] == before["recipe"]["task"]


def test_an_earlier_checkpoint_is_read_once(digits, monkeypatch):
    reads, load = [], files.load
    monkeypatch.setattr(files, "load", lambda path: reads.append(path) or load(path))
    source = {"from": str(digits)}
    evaluation = {"name": "evaluation", "metrics": ["fid"], "features": source}
    task = {"name": "gan", "network": {"name": "generator"}, "discriminator": source}
    resolved = resolve(recipe(task, callbacks=[evaluation]))
    assert resolved.task.given["discriminator"].load and resolved.callbacks[0].given["features"].load
    assert len(reads) == 1


def test_a_whole_task_is_taken_to_other_data(digits):
    taken = recipe({"from": str(digits)}, {**DIGITS, "split_seed": 1})
    assert same(built(taken).model.state_dict(), folders.load(digits).state_dict())
    run = fit(taken, quiet=True)
    assert folders.load(run).class_names == list("0123456789")


@pytest.mark.parametrize(
    ("slot", "line"),
    [
        ({"network": {"from": "runs/nowhere"}}, "task.network.from: runs/nowhere: no such checkpoint"),
        ({"process": {"from": "runs/digits"}}, "task.process.from: runs/digits: this run has no process"),
        ({"codec": {"from": "runs/digits"}}, "codec must be an autoencoder with encode and decode, got CNN"),
        ({"network": {"from": "runs/digits"}}, "CNN does not fit this task"),
        ({"network": {"from": "runs/digits", "width": 3}}, "must not be combined with `from`"),
    ],
)
def test_a_run_that_does_not_fit_is_one_line(digits, slot, line, capsys):
    task = {"name": "diffusion", "network": "unet", "process": "cosine", "prediction": "v", **slot}
    path = runs_folder() / "later.yaml"
    path.write_text(write({"name": "later", "task": task, "data": DIGITS, "trainer": TRAINER}))
    assert dispatch(["fit", "--config", str(path), "--quiet"]) == 2
    error = capsys.readouterr().err.strip()
    assert line in error and "\n" not in error and error.startswith("runs/later.yaml:")


def test_weights_of_no_shape_in_common_are_refused(workplace):
    run = fit(classifier({"name": "cnn", "layers": ["avgpool"]}, name="linear"), quiet=True)
    with pytest.raises(UserError, match="no weights fit a CNN for this data"):
        built(classifier({"from": str(run)}, SHAPES))


def test_a_checkpoint_of_another_architecture_is_one_line(digits, tmp_path):
    state = files.load(folders.find_checkpoint(digits))
    del state["ema"]
    tensor = state["state_dict"].pop("model.network.head.weight")
    files.save({**state, "state_dict": {**state["state_dict"], "model.network.neck": tensor}}, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=r"does not fit this Classifier: .*head\.weight") as error:
        folders.load(tmp_path / "other.ckpt", raw=True)
    assert "\n" not in str(error.value)


def test_the_namesake_of_a_slot_is_taken(workplace):
    networks = {
        "network": {"name": "generator", "latent": 4, "width": 4, "multipliers": [1]},
        "discriminator": {"name": "discriminator", "width": 4, "multipliers": [1]},
    }
    first = fit(recipe({"name": "gan", "latent": 4, **networks}, name="first"), quiet=True)
    task = {"name": "gan", "latent": 4, "network": networks["network"], "discriminator": {"from": str(first)}}
    later = recipe(task)
    assert same(
        built(later).discriminator.state_dict(),
        Checkpoint.read(folders.find_checkpoint(first)).task().discriminator.state_dict(),
    )
    assert resolve(later).plain()["task"]["discriminator"]["name"] == "discriminator"


def test_a_classifier_judges_samples_as_evaluate_does(digits):
    evaluation = {"name": "evaluation", "metrics": ["fid"], "features": {"from": str(digits)}}
    later = recipe(DIFFUSION, callbacks=[evaluation])
    callback = build(resolve(later).callbacks[0], build_data(later).info.settings())
    assert classifier_features(callback.classifier).name == classifier_features(folders.load(digits)).name


def test_latents_of_an_earlier_autoencoder_have_unit_size(workplace):
    network = {"name": "autoencoder", "width": 4, "multipliers": [1, 2], "latent_channels": 2}
    vae = fit(recipe({"name": "vae", "network": network}, name="vae"), quiet=True)
    unet = {"name": "unet", "in_channels": 2, "width": 4, "multipliers": [1], "blocks": 1, "attention": []}
    task = {"name": "diffusion", "codec": {"from": str(vae)}, "network": unet, "process": "cosine", "prediction": "v"}
    latent = recipe(task, name="latent")
    run = fit(latent, quiet=True)
    shutil.rmtree(vae)
    loaded = folders.load(run)
    images = to_float(build_data(latent).splits["train"].pixels, 17)
    latents = loaded.latents
    assert latents.encode(images).square().mean() == pytest.approx(1, rel=1e-4)
    assert loaded.denoiser.sigma_data == 1 and loaded.latent_shape == (2, 4, 4)
    assert torch.allclose(latents.decode(latents.encode(images)), latents.codec(images).clamp(-1, 1), atol=1e-5)
    fixed = built(recipe({**task, "codec": network, "latent_scale": 2.0}))
    fixed.fit_statistics({"image": images})
    assert float(fixed.model.latents.scale) == 2


def test_a_task_takes_the_whole_model_of_a_run(monkeypatch):
    """`{name: consistency, from: RUN}`: its settings and averaged weights, another sampler; the run may go."""
    ema = {"callbacks": [{"name": "ema", "decays": [0.5]}]}
    first = fit(recipe({**DIFFUSION, "sampler": "unipc"}, name="first", **ema), quiet=True)
    tuned = recipe({"name": "consistency", "from": str(first), "stages": 3}, name="tuned")
    assert tuned.plain()["task"]["from"] == str(first)
    task = built(tuned)
    averages = files.load(first / "checkpoints" / "last.ckpt")["ema"]["weights"][0]
    weights = task.model.denoiser.network.state_dict()
    assert weights and all(
        torch.equal(value, averages[f"model.denoiser.network.{key}"]) for key, value in weights.items()
    )
    assert type(task.model.sampler).__name__ == "ConsistencySampler" and task.loss.stages == 3
    run = fit(tuned, quiet=True)
    shutil.rmtree(first)
    model = folders.load(run)
    assert model.sample(2).shape == (2, 1, 8, 8)
    assert not isinstance(model, Denoises)
    out = runs_folder() / "out"
    assert dispatch(["generate", "--ckpt_path", str(run), "--n", "2", "--steps", "1", "--out", str(out)]) == 0
    refused = ["denoise", "--ckpt_path", str(run), "--input", str(out), "--sigma", "25", "--out", str(out / "clean")]
    assert dispatch(refused) == 2
    fit(
        recipe(
            {"name": "consistency", "from": str(first), "stages": 3}, name="tuned", trainer=TRAINER | {"max_steps": 3}
        ),
        ckpt_path=str(run),
        quiet=True,
    )


def test_a_model_that_another_task_cannot_take(digits):
    wrong = recipe({"name": "consistency", "from": str(digits)}, name="wrong")
    with pytest.raises(RecipeError, match=r"task.from: .*its model cannot be used as a Consistency"):
        resolve(wrong)
    moved = recipe({"name": "consistency", "from": "runs/nowhere"}, overrides=[f"--task.from={digits}"], name="moved")
    assert moved.task.given["model"].run == str(digits)
    with pytest.raises(RecipeError, match=r"task.networks: the task 'consistency' has no setting"):
        recipe({"name": "consistency", "from": str(digits), "networks": "unet"}, name="typo")


UNET = {"name": "unet", "width": 8, "multipliers": [1], "blocks": 1}


def test_average_velocities_start_from_a_run(capsys):
    """The network is that of the run, with a second time and a guidance scale that do nothing yet."""
    ema = {"callbacks": [{"name": "ema", "decays": [0.5]}]}
    first = fit(recipe(DIFFUSION | {"network": UNET}, name="first", **ema), quiet=True)
    tuned = recipe({"name": "mean_flow", "from": str(first), "max_guidance": 3}, name="tuned")
    task = built(tuned)
    assert "newly initialised: denoiser.network.embedding.end" in capsys.readouterr().err
    before = files.load(first / "checkpoints" / "last.ckpt")["ema"]["weights"][0]
    after = task.model.state_dict()
    assert all(torch.equal(after[name.removeprefix("model.")], value) for name, value in before.items())
    assert type(task.model.sampler).__name__ == "MeanFlowSampler"
    run = fit(tuned, quiet=True)
    shutil.rmtree(first)
    model = folders.load(run)
    assert model.denoiser.network.two_times and model.denoiser.network.guided and isinstance(model, Denoises)
    assert model.sample(2, steps=1).shape == (2, 1, 8, 8)
    assert model.sample(2, sampler="unipc", steps=2, guidance=2.0).isfinite().all()
    again = recipe({"name": "mean_flow", "from": str(run), "max_guidance": 1}, name="again")
    assert not built(again).model.denoiser.network.guided
