"""Recipes that change another one: what is merged, what is replaced, and in which file an error is."""

import pytest

from genmods.config.recipe import load
from genmods.config.text import RecipeError

BASE = """name: first
seed: 3
task:
  name: diffusion
  network: {name: unet, width: 16}
  process: cosine
  prediction: v
data: {name: digits, batch_size: 32, val_fraction: 0.2}
trainer: {max_steps: 10, gradient_clip_val: 1.0}
callbacks: [sample_grid]
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "first.yaml").write_text(BASE)

    def write(text, name="second"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_blocks_are_merged_and_lists_are_replaced(write):
    path = write("base: first.yaml\ntask: {network: {width: 24}}\ntrainer:\n  max_steps: 20\ncallbacks: []\n")
    plain = load(path).plain()
    assert plain["name"] == "second" and plain["seed"] == 3 and plain["callbacks"] == []
    assert plain["task"]["network"]["name"] == "unet" and plain["task"]["network"]["width"] == 24
    assert plain["trainer"]["max_steps"] == 20 and plain["trainer"]["gradient_clip_val"] == 1.0


@pytest.mark.parametrize("network", ["dit", "{name: dit}"])
def test_another_part_has_no_settings_of_the_base(write, network):
    plain = load(write(f"base: first.yaml\ntask: {{network: {network}}}\n")).plain()
    assert (
        plain["task"]["network"]
        == load(write(BASE.replace("{name: unet, width: 16}", "dit"))).plain()["task"]["network"]
    )


def test_the_same_name_keeps_them(write):
    assert load(write("base: first.yaml\ntask: {network: unet}\n")).plain()["task"]["network"]["width"] == 16
    plain = load(write("base: first.yaml\ntask: {process: {offset: 0.01}}\n")).plain()
    assert plain["task"]["process"]["name"] == "cosine" and plain["task"]["process"]["offset"] == 0.01


def test_other_data_keep_the_settings_of_the_module(write):
    plain = load(write("base: first.yaml\ndata: {name: synthetic, side: 8}\n")).plain()
    assert plain["data"]["name"] == "synthetic" and plain["data"]["batch_size"] == 32


def test_a_part_of_a_run_replaces_the_block(write):
    recipe = load(write("base: first.yaml\ntask: {network: {from: runs/x}}\n"))
    assert recipe.plain()["task"]["network"] == {"from": "runs/x"}


def test_options_come_after_bases_of_bases_and_shipped_ones(write):
    write("base: ../first.yaml\nseed: 4\n", "inner/middle")
    recipe = load(write("base: inner/middle.yaml\ntrainer: {max_steps: 30}\n"), ["--trainer.max_steps=40"])
    assert recipe.seed == 4 and recipe.trainer.given["max_steps"] == 40
    shipped = load(write("base: cnn\nseed: 4\n"))
    assert shipped.plain() | {"name": "cnn", "seed": 7} == load("cnn").plain()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: first.yaml\nseed: 1\ntask:\n  network: {widht: 3}\n", "second.yaml:4: task.network.widht"),
        ("base: broken.yaml\ndata: digits\n", "broken.yaml:2: task.network.detph"),
        ("base: nowhere.yaml\n", "second.yaml:1: base: .*nowhere.yaml: no such file"),
        ("seed: 1\nbase: [first.yaml]\n", "second.yaml:2: base: must be the path"),
        ("base: second.yaml\n", "second.yaml:1: base: .*is based on this recipe"),
        ("base: circle.yaml\n", "circle.yaml:1: base: .*is based on this recipe"),
        ("base: first.yaml\nbase: first.yaml\n", "second.yaml:2: base: duplicate key"),
        ("base: .\n", "second.yaml:1: base: .*is a folder"),
    ],
)
def test_an_error_names_the_file_of_its_key(write, text, message):
    write("base: second.yaml\n", "circle")
    write("task:\n  network: {name: unet, detph: 2}\n  name: diffusion\n  process: cosine\n  prediction: v\n", "broken")
    with pytest.raises(RecipeError, match=message):
        load(write(text))


def test_a_recipe_of_plain_data_has_no_base():
    from genmods.config.recipe import from_plain

    with pytest.raises(RecipeError, match="base"):
        from_plain({"base": "cnn"})


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    (tmp_path / "own.yaml").write_text(f"base: {'x' * 300}\n")
    with pytest.raises(RecipeError, match=r"own\.yaml:1: base: .*x: cannot be read: File name too long"):
        load(tmp_path / "own.yaml")
