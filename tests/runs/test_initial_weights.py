"""`weights`, `freeze` and `lr_scale` of a recipe's networks: in a run, resumed, reused, exported."""

import pytest
import torch

from genmods.cli import dispatch
from genmods.core import checkpoint as files
from genmods.networks import CNN
from genmods.runs import folders
from genmods.runs.fit import build_data, build_task, fit
from genmods.runs.reuse import resolve
from support.small_runs import CNN as SMALL, classifier

CONV = ["conv 4", "conv 4", "linear 8"]
OPTIMIZER = {"name": "sgd", "lr": 0.5}


def state(folder, name="last"):
    return files.load(folder / "checkpoints" / f"{name}.ckpt")


def body(tensors):
    """The tensors of all layers but the last."""
    names = [name for name in tensors if "network." in name][:-2]
    return {name: tensors[name] for name in names}


@pytest.fixture(scope="module")
def lightning_file(tmp_path_factory):
    """Weights of the same network for 7 classes, as Lightning writes them."""
    torch.manual_seed(3)
    network = CNN(layers=CONV, in_channels=1, num_classes=7, image_size=8)
    path = tmp_path_factory.mktemp("weights") / "other.ckpt"
    torch.save({"state_dict": {f"net.{name}": value for name, value in network.state_dict().items()}}, path)
    return path, network.state_dict()


def test_a_run_begins_with_the_weights_of_a_file(workplace, lightning_file, tmp_path, capsys):
    path, tensors = lightning_file
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(path.read_bytes())
    network = {"name": "cnn", "layers": CONV, "weights": str(copy), "freeze": ["backbone"]}
    first = fit(classifier(network, optimizer=OPTIMIZER, name="with_file"), quiet=True)
    told = capsys.readouterr().err
    assert f"{copy} (state_dict.net): loaded " in told and "2 newly initialised" in told and "0 unused" in told
    weights = state(first)["state_dict"]
    names = [name for name in tensors if tensors[name].shape == weights[f"model.network.{name}"].shape]
    assert len(names) > 8
    assert all(torch.equal(weights[f"model.network.{name}"], tensors[name]) for name in names), "frozen, statistics too"

    copy.unlink()
    again = fit(
        classifier(network, overrides=["--trainer.max_steps=4"], optimizer=OPTIMIZER, name="with_file"),
        "last",
        quiet=True,
    )
    assert again == first and state(first)["global_step"] == 4, "resumed without the file"
    later = fit(classifier({"from": str(first)}, optimizer=OPTIMIZER, name="free"), quiet=True)
    moved = state(later)["state_dict"]
    assert any(not torch.equal(moved[name], value) for name, value in body(weights).items()), "free again"
    assert dispatch(["export", "--ckpt_path", str(first), "--out", str(tmp_path / "model.safetensors")]) == 0
    assert isinstance(folders.load(tmp_path / "model.safetensors").network, CNN)
    assert "cannot" not in capsys.readouterr().err


def test_a_network_of_a_run_is_frozen(workplace, capsys):
    base = fit(classifier({"name": "cnn", "layers": CONV}, optimizer=OPTIMIZER, name="base"), quiet=True)
    before = body(state(base)["state_dict"])
    taken = {"from": str(base), "freeze": ["backbone"]}
    run = classifier(taken, optimizer=OPTIMIZER, name="frozen")
    assert resolve(run).plain()["task"]["network"]["freeze"] == ["backbone"]
    frozen = fit(run, quiet=True)
    after = state(frozen)["state_dict"]
    assert len(before) > 8 and all(torch.equal(after[name], value) for name, value in before.items())
    assert any(not torch.equal(after[n], v) for n, v in state(base)["state_dict"].items() if n not in before)
    fit(classifier(taken, overrides=["--trainer.max_steps=4"], optimizer=OPTIMIZER, name="frozen"), "last", quiet=True)
    assert all(torch.equal(state(frozen)["state_dict"][name], value) for name, value in before.items()), "resumed"


def test_learning_rates_by_part(workplace):
    network = {**SMALL, "lr_scale": {"backbone": 0.1}}
    made = classifier(network, optimizer=OPTIMIZER, name="rates", schedule="constant")
    run = fit(made, quiet=True)
    groups = state(run)["optimizer_states"][0]["param_groups"]
    assert sorted({round(group["lr"], 6) for group in groups}) == [0.05, 0.5]
    task = build_task(made, build_data(made).info)
    head = list(task.model.network.parameters())[-2:]
    assert [group["lr_scale"] for group in task.groups() if "lr_scale" in group] == [0.1, 0.1]
    assert {id(p) for g in task.groups() if "lr_scale" not in g for p in g["params"]} == {id(p) for p in head}
    assert task.lr == 0.5
    change = ["--optimizer.lr=0.2", "--trainer.max_steps=4"]
    fit(
        classifier(network, overrides=change, optimizer=OPTIMIZER, name="rates", schedule="constant"),
        "last",
        quiet=True,
    )
    groups = state(run)["optimizer_states"][0]["param_groups"]
    assert sorted({round(group["lr"], 6) for group in groups}) == [0.02, 0.2]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("--task.network.freeze=[layer9]", "no layer is called 'layer9'"),
        ("--task.network.lr_scale={backbon: 0.1}", "no layer is called 'backbon'; did you mean 'backbone'?"),
        ("--task.network.lr_scale={backbone: -1}", "at least 0"),
        ("--task.network.weights=none.pth", "there is no file none.pth"),
        ("--task.network.weights=3", "there is no file 3"),
    ],
)
def test_mistakes_are_one_line(workplace, capsys, setting, told):
    assert dispatch(["fit", "--config", "cnn", "--data.limit=200", setting]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert told in line and "task.network" in line


def test_a_part_from_a_run_takes_no_other_settings(workplace, capsys):
    task = "{name: classification, network: {from: runs/x, width: 3}}"
    assert dispatch(["check", "cnn", f"--task={task}"]) == 2
    assert "task.network.width: must not be combined with `from`" in capsys.readouterr().err
