"""A classifier trained on the samples of a run: `data: {name: generated, from: RUN}`."""

import pytest
import torch

from genmods.cli import dispatch
from genmods.config.recipe import load
from genmods.core.errors import UserError
from genmods.core.places import runs_folder
from genmods.data.images import to_uint8
from genmods.runs import folders
from genmods.runs.fit import build_data, fit
from genmods.runs.generated import Generated
from support.small_runs import CNN, DIFFUSION, SHAPES, classifier, recipe

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture(scope="module")
def generator(workplace):
    """A class-conditional diffusion run on three shapes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODS_CACHE", str(runs_folder() / "cache"))
        network = {"name": "unet", "width": 4, "multipliers": [1], "blocks": 1, "attention": []}
        task = DIFFUSION | {"network": network, "sampler": {"name": "ddim", "steps": 2}}
        yield fit(recipe(task, SHAPES, name="generator"), quiet=True)


def test_the_training_images_are_samples_with_their_classes(generator):
    splits = Generated(from_=str(generator), n=10, sample_seed=5).read()
    drawn = folders.load(generator).sample(10, {"label": [0, 1, 2]}, seed=5)
    assert torch.equal(splits["train"].pixels, to_uint8(drawn))
    assert splits["train"].labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    real = build_data(recipe(DIFFUSION, SHAPES)).splits
    for name in ("val", "test"):
        assert torch.equal(splits[name].pixels, real[name].pixels)


def test_samples_are_kept_until_a_setting_changes(generator, monkeypatch):
    first = Generated(from_=str(generator), n=4).read()["train"].pixels
    monkeypatch.setattr(Generated, "_drawn", lambda self: pytest.fail("drawn again"))
    assert torch.equal(Generated(from_=str(generator), n=4).read()["train"].pixels, first)
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        Generated(from_=str(generator), n=4, guidance=2.0).read()


def test_a_share_of_the_real_images_is_added(generator):
    real = build_data(recipe(DIFFUSION, SHAPES)).splits["train"]
    few = Generated(from_=str(generator), n=0, real=0.25).read()["train"]
    assert len(few) == round(0.25 * len(real)) and few.labels.bincount().max() <= few.labels.bincount().min() + 1
    both = Generated(from_=str(generator), n=5, real=0.25).read()["train"]
    assert torch.equal(both.pixels[5:], few.pixels) and torch.equal(both.labels[5:], few.labels)
    assert len(Generated(from_=str(generator), n=5, real=1.0).read()["train"]) == 5 + len(real)


def test_a_classifier_is_trained_on_them_and_tested_on_real_images(generator, capsys):
    data = {"name": "generated", "from": str(generator), "n": 60, "batch_size": 30}
    run = fit(classifier(CNN, data, name="judge"), quiet=True)
    saved = load(run / "recipe.yaml")
    assert saved.plain()["data"]["from"] == str(generator) and saved.plain()["data"]["n"] == 60
    assert dispatch(["test", "--config", str(run / "recipe.yaml"), "--ckpt_path", str(run), "--quiet"]) == 0
    assert (run / "test.json").is_file()


def test_the_run_is_given_on_the_command_line(generator):
    made = classifier(CNN, overrides=["--data.name=generated", f"--data.from={generator}", "--data.n=7"])
    assert len(build_data(made).splits["train"]) == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "data.from: set the run"),
        ({"from_": "runs/nowhere"}, "data.from: runs/nowhere: no such checkpoint or run folder"),
    ],
)
def test_missing_runs_are_one_line(settings, message):
    with pytest.raises(UserError) as refused:
        Generated(**settings).read()
    assert str(refused.value).startswith(message)


def test_runs_that_generate_nothing_are_refused(digits):
    with pytest.raises(UserError, match="expected a generative model, got Classifier"):
        Generated(from_=str(digits)).read()
    with pytest.raises(ValueError, match="n must be at least 1 if real is 0, got 0"):
        Generated(from_="x", n=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [("form: runs/x", "no setting 'form'; did you mean 'from'?"), ("n: -1", "n must be at least 0, got -1")],
)
def test_mistakes_in_a_recipe_have_their_line(tmp_path, capsys, line, message):
    path = tmp_path / "r.yaml"
    path.write_text(f"task: {{name: classification, network: cnn}}\ndata:\n  name: generated\n  {line}\n")
    assert dispatch(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"{path}:4: data." in error and message in error
