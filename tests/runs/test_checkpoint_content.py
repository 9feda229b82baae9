"""A checkpoint whose content is not what `fit` writes is one line; so is one with numbers that are not finite."""

import copy
import resource

import pytest
import torch

from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.file import export

MISSING = ["recipe", "data_info", "state_dict", "recipe.task", "recipe.data", "recipe.name", "data_info.shape"]
OTHERS = {
    "recipe": [1, [], "x", {"name": "x"}],
    "recipe.task": [1, None, [], {"name": 3}, {"name": "absent"}, {"name": "classification", "network": 5}],
    "recipe.name": [3, "../x", "x" * 300],
    "data_info": [1, [], {}, {"shape": [1]}],
    "data_info.shape": [3, "x", [], [0, 8, 8], [10**9], [1.5], [1, 8, 8, 8, 8], [2**16, 2**16, 2**16]],
    "data_info.num_classes": ["x", -1, 10**9, True, None],
    "data_info.mean": ["x", [], [float("nan")], [0.0] * 7, None],
    "data_info.class_names": [5, ["a", 1], "ab"],
    "state_dict": [1, [], {"a": 1}, {"model.a": torch.ones(1)}],
    "ema": [[], {}, {"weights": []}, {"weights": [[]], "decays": [0.9], "updates": 1}],
    "global_step": ["x", -1, 1.5, 10**12, None],
    "epoch": ["x", None],
    "run_ids": [1, {"csv": 3}],
    "precision": [3],
    "callbacks": [1],
}
CASES = [(key, value) for key, values in OTHERS.items() for value in values]


@pytest.mark.parametrize("change", [dict.popitem, lambda some: some.update(more=torch.ones(1))])
def test_averages_of_other_weights_are_one_line(content, tmp_path, change):
    """Without a name in the first average, the raw weight would be used silently."""
    for name, parameters in (("ema", "decays"), ("power_ema", "lengths")):
        weights = {key: value for key, value in content["state_dict"].items() if value.is_floating_point()}
        change(weights)
        averages = {"weights": [weights], parameters: [0.9], "updates": 1}
        files.save({**content, name: averages}, tmp_path / "x.ckpt")
        with pytest.raises(UserError, match=rf"{name}.weights must be averages of state_dict, but \S+ differs"):
            Checkpoint.read(tmp_path / "x.ckpt")


@pytest.fixture(scope="module")
def content(digits):
    return files.load(digits / "checkpoints" / "last.ckpt")


@pytest.fixture
def changed(content, tmp_path):
    """The path of a checkpoint with the value at `key` changed by `change`."""

    def changed(key, change):
        new = copy.deepcopy(content)
        *blocks, last = key.split(".")
        inner = new
        for block in blocks:
            inner = inner[int(block) if block.isdigit() else block]
        change(inner, last)
        files.save(new, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return changed


def refused(path):
    with pytest.raises(UserError) as caught:
        checkpoint = Checkpoint.read(path)
        checkpoint.parsed()
        checkpoint.model()
    line = str(caught.value)
    assert "\n" not in line and "changed.ckpt" in line, line
    return line


@pytest.mark.parametrize("key", MISSING)
def test_a_missing_key_is_named(changed, key):
    assert f"has no {key}" in refused(changed(key, lambda block, last: block.pop(last)))


@pytest.mark.parametrize(("key", "value"), CASES, ids=range(len(CASES)))
def test_a_value_of_another_type_is_refused(changed, key, value):
    refused(changed(key, lambda block, last: block.update({last: value})))


def test_keys_of_the_recipe_that_are_not_text(changed):
    refused(changed("recipe", lambda block, last: block[last].update({3: 4})))


@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
@pytest.mark.parametrize("key", ["state_dict", "ema.weights.0", "optimizer_states.0.state.0"])
def test_a_number_that_is_not_finite_is_refused(changed, key, value):
    def spoil(block, last):
        name, tensor = next(iter(block[int(last) if last.isdigit() else last].items()))
        block[int(last) if last.isdigit() else last][name] = torch.full_like(tensor, value)

    path = changed(key, spoil)
    with pytest.raises(UserError, match=r"changed\.ckpt: .* is not finite"):
        Checkpoint.read(path).task(raw=key == "state_dict")


def test_an_export_that_is_not_finite_is_refused(digits, tmp_path):
    checkpoint = Checkpoint.read(folders.find_checkpoint(digits))
    next(iter(checkpoint.averages.values())).view(-1)[0] = float("nan")
    export(checkpoint, tmp_path / "changed.safetensors")
    with pytest.raises(UserError, match="is not finite"):
        folders.load(tmp_path / "changed.safetensors")


@pytest.mark.parametrize("layers", [["conv 16000"] * 3, ["conv 4"] * 5000, ["linear 16000"] * 9])
def test_a_recipe_takes_no_more_than_the_weights_in_the_file(changed, layers):
    path = changed("recipe.task.network.layers", lambda inner, key: inner.update({key: layers}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"task\.network: the network 'cnn' is larger than the weights in the file"):
        Checkpoint.read(path).model()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
