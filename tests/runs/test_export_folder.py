"""Exported folders: the same model, a card with the facts of the run, nothing that is changed unnoticed."""

import json
import os

import pytest
import torch
import yaml

import genmods
from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from support.small_runs import SHAPES, recipe

IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def exported(digits, tmp_path_factory):
    """A folder of a classifier, evaluated on its test data before."""
    assert dispatch(["test", "--config", str(digits / "recipe.yaml"), "--ckpt_path", str(digits), "--quiet"]) == 0
    folder = tmp_path_factory.mktemp("exported") / "digits"
    assert dispatch(["export", "--ckpt_path", str(digits), "--out", str(folder), "--license", "mit"]) == 0
    return folder


def test_the_folder_is_the_trained_model(exported, digits):
    torch.testing.assert_close(genmods.load(exported)(IMAGES), genmods.load(digits)(IMAGES), rtol=0, atol=0)
    assert genmods.load(exported).preparation == genmods.load(digits).preparation


def test_the_configuration_has_parts_settings_and_format(exported, digits):
    config = json.loads((exported / "config.json").read_text())
    checkpoint = Checkpoint.read(folders.find_checkpoint(digits))
    assert config["genmods_format"] == 2 and config["recipe"]["task"]["network"]["name"] == "cnn"
    assert config["data_hash"] == checkpoint.data_hash
    assert config["split_sizes"] == {"train": 200, "test": 180, "val": 180}


def test_the_card_has_the_facts_of_the_run(exported, digits):
    text = (exported / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front == {
        "license": "mit",
        "library_name": "genmods",
        "tags": ["genmods", "classification"],
        "pipeline_tag": "image-classification",
    }
    checkpoint, environment = (
        Checkpoint.read(folders.find_checkpoint(digits)),
        json.loads((digits / "environment.json").read_text()),
    )
    found = json.loads((digits / "test.json").read_text())
    sizes = checkpoint.split_sizes
    assert found["images"] == sizes["test"] and found["data_hash"] == checkpoint.data_hash
    accuracy = f"| test/acc | {found['figures']['test/acc']:.5g} | {sizes['test']} test images |"
    assert accuracy in text.replace("\\", "")
    for fact in (
        checkpoint.data_hash,
        f"train {sizes['train']}, val {sizes['val']}",
        f"torch {environment['packages']['torch']}",
        f"{sizes['val']} validation images, at step 2",
        "averaged (EMA), after step 2",
        'genmods.load("digits")',
        "classify(",
        "layers: [conv 4, pool 2, linear 8]",
    ):
        assert fact in text.replace("\\", "") or fact in text, fact


def test_figures_of_another_checkpoint_are_left_out(exported, digits, tmp_path):
    checkpoint = folders.find_checkpoint(digits)
    times = os.stat(checkpoint)
    os.utime(checkpoint, ns=(times.st_atime_ns, (digits / "test.json").stat().st_mtime_ns + 10**9))
    try:
        assert dispatch(["export", "--ckpt_path", str(digits), "--out", str(tmp_path / "later")]) == 0
    finally:
        os.utime(checkpoint, ns=(times.st_atime_ns, times.st_mtime_ns))
    text = (tmp_path / "later" / "README.md").read_text()
    assert "test/acc" not in text and "val/acc" in text


def test_a_card_of_samples_shows_them(workplace, tmp_path):
    from genmods.runs.fit import fit

    unet = {"name": "unet", "width": 4, "multipliers": [1], "blocks": 1, "attention": []}
    task = {
        "name": "diffusion",
        "network": unet,
        "process": "cosine",
        "prediction": "v",
        "sampler": {"name": "ddim", "steps": 2},
    }
    evaluation = {"name": "evaluation", "metrics": [{"name": "fid", "bootstrap": 0}], "n": 20}
    callbacks = [{"name": "sample_grid", "n": 4}, evaluation]
    run = fit(recipe(task, SHAPES, name="shapes", callbacks=callbacks), quiet=True)
    assert dispatch(["export", "--ckpt_path", str(run), "--out", str(tmp_path / "shapes")]) == 0
    text = (tmp_path / "shapes" / "README.md").read_text().replace("\\", "")
    assert "| val/fid_20 |" in text and "samples: 20, features: pixels" in text
    assert (tmp_path / "shapes" / "samples.png").read_bytes() == max((run / "samples").glob("step_*.png")).read_bytes()
    model = genmods.load(tmp_path / "shapes")
    torch.testing.assert_close(model.sample(2, seed=3), genmods.load(run).sample(2, seed=3), rtol=0, atol=0)


def changed(folder, to, change):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    config = json.loads((to / "config.json").read_text())
    change(config)
    (to / "config.json").write_text(json.dumps(config))
    return to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda config: config["recipe"]["task"]["network"].update(layers=["conv 8"]),
            "recipe differs from the header",
        ),
        (lambda config: config.pop("data_info"), "data_info differs"),
        (lambda config: config.update(genmods_format=3), "newer version"),
        (lambda config: config.update(more=1), "more differs"),
    ],
)
def test_a_changed_configuration_is_refused(exported, tmp_path, change, message):
    with pytest.raises(UserError, match=f"config.json: .*{message}"):
        genmods.load(changed(exported, tmp_path / "other", change))


def test_environment_variables_and_runs_are_not_resolved(exported, tmp_path, monkeypatch):
    from genmods.core import safetensors

    monkeypatch.setenv("SECRET", "layers")
    header, tensors = safetensors.load(exported / "model.safetensors")
    header["recipe"]["task"]["network"]["layers"] = ["${SECRET}"]
    safetensors.save(header, tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"\$\{SECRET\}"):
        genmods.load(tmp_path / "model.safetensors")
    header["recipe"]["task"]["network"] = {"from": str(exported)}
    safetensors.save(header, tensors, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="from: RUN"):
        genmods.load(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "model.bin"], "--out must end in .safetensors"),
        (["--out", "model", "--to", "file"], "--out must end in .safetensors, got model"),
        (["--out", "RUN"], "is a run folder"),
        (["--out", "model.safetensors", "--push", "me/digits"], "--push uploads a folder"),
    ],
)
def test_other_outputs_are_refused_in_one_line(digits, tmp_path, monkeypatch, capsys, options, message):
    run = digits.resolve()
    monkeypatch.chdir(tmp_path)
    options = [str(run) if option == "RUN" else option for option in options]
    assert dispatch(["export", "--ckpt_path", str(run), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
