"""The JSON Schema of recipes: the shipped ones fulfil it, and what `check` refuses does not."""

import json

import pytest

from genmods.cli import dispatch
from genmods.config.shipped import shipped
from genmods.config.text import plain, read

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def validator(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "recipe.json"
    assert dispatch(["schema", "--out", str(path)]) == 0
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_fulfil_it(validator, name):
    assert not [error.message for error in validator.iter_errors(plain(read(shipped()[name])))]


@pytest.mark.parametrize(
    "recipe",
    [
        {"tsak": "diffusion"},
        {"task": {"name": "diffusion", "netwrok": "unet"}},
        {"task": "difusion"},
        {"task": {"name": "diffusion", "network": {"name": "unet", "width": 0}}},
        {"task": {"name": "diffusion", "network": {"name": "unet", "width": "wide"}}},
        {"task": {"name": "diffusion", "network": {"name": "unet", "from": "runs/x"}}},
        {"data": {"name": "digits", "augment": ["flop"]}},
        {"data": {"name": "digits", "roott": "x"}},
        {"trainer": {"max_step": 5}},
        {"trainer": {"default_root_dir": "x"}},
        {"trainer": {"precision": "64"}},
        {"seed": -1},
        {"callbacks": [{"name": "ema", "decays": "slow"}]},
        {"optimizer": {"name": "adamw", "lr": -1.0}},
    ],
)
def test_mistakes_do_not(validator, recipe):
    assert list(validator.iter_errors(recipe))


@pytest.mark.parametrize(
    "recipe",
    [
        {"base": "ddpm", "task": {"network": {"width": 64}}, "trainer": {"precision": 32}},
        {"task": {"name": "consistency", "from": "runs/ddpm"}, "schedule": None, "logger": "csv"},
        {"data": {"name": "image_folder", "root": "${DATA}/photos", "batch_size": "$BATCH"}},
        {"task": {"name": "diffusion", "network": {"name": "unet", "in_channels": "from data"}}},
        {"callbacks": ["sample_grid", {"name": "evaluation", "metrics": ["fid"], "features": {"from": "runs/cnn"}}]},
    ],
)
def test_what_a_recipe_may_contain_does(validator, recipe):
    assert not [error.message for error in validator.iter_errors(recipe)]
