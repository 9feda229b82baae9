"""Recipes: resolving, overriding, reloading and building."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import pytest

from genmods.config.build import build, create
from genmods.config.parts import From
from genmods.config.recipe import from_plain, load
from genmods.config.shipped import shipped
from genmods.config.text import RecipeError, parse, plain

TEXT = """\
seed: 7
task:
  name: diffusion
  network: {name: unet, width: 8, multipliers: [1]}
  process: cosine
  prediction: v
  sampler: {name: ddim, steps: 50}
data: {name: digits, batch_size: 32, augment: [flip]}
optimizer: {name: adamw, lr: 1e-3}
schedule: {name: cosine, warmup: 0.1}
trainer: {max_steps: 40}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(TEXT)
    return file


def changed(path, *overrides: str) -> dict:
    return load(path, overrides).plain()


def test_the_resolved_recipe_loads_to_itself(path):
    text = load(path).to_yaml()
    again = path.with_name("recipe.yaml")
    again.write_text(text)
    assert load(again).to_yaml() == text
    assert from_plain(load(path).plain()).to_yaml() == text
    assert from_plain(plain(parse(text, ""))).to_yaml() == text


@pytest.mark.parametrize("name", list(shipped()))
def test_every_shipped_recipe_is_sound_and_loads_to_itself(name):
    recipe = load(name)
    assert recipe.name == name.replace("/", "-")
    assert from_plain(recipe.plain()).to_yaml() == recipe.to_yaml()


def test_every_default_is_visible(path):
    resolved = load(path).plain()
    assert resolved["task"]["sampler"] == {"name": "ddim", "steps": 50, "grid": None, "eta": 0.0}
    assert resolved["data"]["val_fraction"] == 0.1
    assert resolved["optimizer"]["betas"] == [0.9, 0.999]
    assert resolved["trainer"]["accumulate_grad_batches"] == 1
    assert resolved["trainer"]["num_sanity_val_steps"] == 0 and "plugins" not in resolved["trainer"]
    assert (resolved["name"], resolved["logger"], resolved["callbacks"]) == ("small", [], [])


def test_facts_are_left_to_the_data_and_then_filled(path):
    recipe = load(path)
    assert recipe.plain()["task"]["network"]["in_channels"] == "from data"
    facts = {
        "in_channels": 1,
        "image_size": 8,
        "num_classes": 10,
        "sigma_data": 0.8,
        "levels": 17,
        "class_names": ["0"],
    }
    filled = recipe.plain(facts)
    assert filled["task"]["network"]["num_classes"] == 10 and filled["task"]["sigma_data"] == 0.8
    assert from_plain(filled).plain() == filled
    assert changed(path, "--task.in_channels=3")["task"]["in_channels"] == 3


def test_the_mean_of_a_noise_density_is_not_filled_from_the_data(path):
    density = changed(path, "--task.density=log_normal")["task"]["density"]
    assert (density["mean"], density["std"]) == (-1.2, 1.2)
    task = load(path, ["--task.density=log_normal"]).task
    assert build(task, {"mean": 0.3, "std": 0.5}).loss.density.mean == -1.2


def test_latents_have_unit_size_in_every_part_of_the_task(path):
    codec = "--task.codec={name: autoencoder, width: 4, multipliers: [1], latent_channels: 1}"
    overrides = ["--task.prediction=karras", "--task.weighting=edm"]
    facts = {"image_size": 8, "sigma_data": 0.6, "in_channels": 1}
    for size, more in ((0.6, []), (1.0, [codec])):
        task = build(load(path, [*overrides, *more]).task, facts)
        denoiser = task.model.denoiser
        assert {denoiser.sigma_data, denoiser.prediction.sigma_data, task.loss.weighting.sigma_data} == {size}


@pytest.mark.parametrize(
    ("overrides", "keys", "value"),
    [
        (["--task.network.width=64"], "task.network.width", 64),
        (["--trainer.max_steps", "10"], "trainer.max_steps", 10),
        (["--trainer.max_steps", "-1"], "trainer.max_steps", -1),
        (["--seed=3"], "seed", 3),
        (["--optimizer.lr=1e-4"], "optimizer.lr", 1e-4),
        (["--task.network.multipliers=[1, 2]"], "task.network.multipliers", [1, 2]),
        (["--schedule=null"], "schedule", None),
        (["--data.augment=[]"], "data.augment", []),
        (["--data.augment.0.p=0.25"], "data.augment.0.p", 0.25),
        (["--task.sampler=null", "--task.sampler.name=ddpm"], "task.sampler.name", "ddpm"),
        (["--optimizer.betas=[0.5, 0.9]"], "optimizer.betas", [0.5, 0.9]),
        (["--task.process.offset=0.01"], "task.process.offset", 0.01),
        (["--task.sampler={name: ddpm, steps: 3}"], "task.sampler.steps", 3),
        (["--seed=3", "--seed=4"], "seed", 4),
    ],
)
def test_overrides(path, overrides, keys, value):
    found = changed(path, *overrides)
    for key in keys.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]
    assert found == value


def test_a_block_with_another_name_discards_its_settings(path):
    with pytest.raises(RecipeError, match="the network 'dit' has no setting 'multipliers'"):
        load(path, ["--task.network.multipliers=[1]", "--task.network.name=dit"])
    assert changed(path, "--task.network.name=dit")["task"]["network"]["name"] == "dit"
    assert changed(path, "--task.sampler=ddpm")["task"]["sampler"]["steps"] != 50
    for same in ("--task.sampler=ddim", "--task.sampler.name=ddim"):
        assert changed(path, same)["task"]["sampler"]["steps"] == 50


def test_overrides_do_not_depend_on_their_order(path):
    several = ["--task.sampler.eta=0.5", "--task.sampler=ddim", "--task.network.width=16", "--task.network.name=vdm"]
    assert changed(path, *several) == changed(path, *reversed(several))


def test_another_source_keeps_the_settings_of_the_data_module(path):
    data = changed(path, "--data.name=synthetic")["data"]
    assert (data["name"], data["batch_size"], data["augment"][0]["name"]) == ("synthetic", 32, "flip")


def test_optimizer_and_trainer_may_be_left_out(path):
    path.write_text("task: {name: classification, network: cnn}\ndata: digits\n")
    resolved = load(path, ["--optimizer.lr=0.1"]).plain()
    assert resolved["optimizer"]["name"] == "adamw" and resolved["optimizer"]["lr"] == 0.1
    assert resolved["seed"] == 0 and resolved["schedule"] is None


def test_parts_are_built_with_settings_and_facts(path):
    recipe = load(path)
    data = build(recipe.data)
    assert (data.batch_size, data.seed, type(data.augment[0]).__name__) == (32, 7, "Flip")
    task = build(recipe.task, data.info.settings())
    assert task.model.sampler.steps == 50 and task.model.image_shape == (1, 8, 8)
    optimizer, schedule = build(recipe.optimizer), build(recipe.schedule)
    assert isinstance(optimizer, partial) and optimizer.keywords["lr"] == 1e-3
    made = schedule(optimizer(task.parameters()), total_steps=100)
    assert made.optimizer.param_groups[0]["lr"] < 1e-3  # warming up


def test_a_value_that_the_class_refuses_is_reported_with_its_line(path):
    with pytest.raises(RecipeError, match=r"command line: data.batch_size: batch_size must be at least 1"):
        load(path, ["--data.batch_size=0"])
    recipe = load(path, ["--task.network.heads=3"])  # checked by the constructor only
    with pytest.raises(RecipeError, match=r"small.yaml:4: task.network: "):
        build(recipe.task, {})


def test_a_part_of_an_earlier_run_is_resolved_before_it_is_built(path):
    network = load(path).task.model.given["network"]
    path.write_text(TEXT.replace("{name: unet, width: 8, multipliers: [1]}", "{from: runs/first}"))
    recipe = load(path)
    assert recipe.task.model.given["network"] == From("network", "runs/first", f"{path}:4", "task.network")
    assert recipe.plain()["task"]["network"] == {"from": "runs/first"}
    with pytest.raises(RecipeError, match="not supported here"):
        build(recipe.task)
    loaded = []
    recipe.task.model.given["network"] = replace(network, load=loaded.append)
    assert build(recipe.task).model.denoiser.network is loaded[0]


def test_parts_are_created_in_python():
    sampler = create("sampler", "ddim", steps=3, grid={"name": "karras", "rho": 5})
    assert sampler.steps == 3 and sampler.grid.rho == 5.0
    assert create("sampler", "ddim", grid=sampler.grid).grid is sampler.grid
    with pytest.raises(ValueError, match="did you mean 'steps'"):
        create("sampler", "ddim", stepz=3)
    with pytest.raises(ValueError, match="must be an int, got 'many'"):
        create("sampler", "ddim", steps="many")


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64", "transformer-engine"])
def test_weights_stay_in_float32(path, precision):
    with pytest.raises(
        RecipeError, match=rf"trainer.precision: precision must be 'auto', .* or 'bf16-mixed', got .*{precision}"
    ):
        load(path, [f"--trainer.precision={precision}"])
    assert changed(path, "--trainer.precision=bf16-mixed")["trainer"]["precision"] == "bf16-mixed"
    assert changed(path, "--trainer.precision=32")["trainer"]["precision"] == "32"
    assert changed(path)["trainer"]["precision"] == "auto"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--callbacks=[ema, {name: ema, decays: [0.9]}]", "callbacks[1]: the callback ema is listed twice"),
        ("--name=../elsewhere", "name: names a folder under runs: must be printable, without"),
        ("--name=\udcff", "command line: name: not text in UTF-8"),
        ("--name=..", "name: names a folder under runs: must be printable"),
        ("--name=''", "name: names a folder under runs: must have 1 to 200 bytes, got ''"),
        ("--name=" + "n" * 300, "name: names a folder under runs: must have 1 to 200 bytes"),
        ('--name="a\\0b"', "name: names a folder under runs: must be printable"),
        ('--name="a<b>"', "name: names a folder under runs: must be printable"),
        ("--trainer.log_every_n_steps=0", "trainer.log_every_n_steps: log_every_n_steps must be at least 1, got 0"),
    ],
)
def test_what_would_go_wrong_later_is_refused(path, override, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        load(path, [override])
