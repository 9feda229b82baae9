"""`genmods check RECIPE`."""

from __future__ import annotations

import pytest

from genmods.cli import dispatch
from genmods.config import registry
from genmods.config.shipped import shipped

MINE = '''
from genmods import register
from genmods.core.settings import Classes
from genmods.networks import Network

@register("network", "mine_of_check")
class Mine(Network):
    """My own network."""

    def __init__(self, width: int = 3, num_classes: Classes = 10):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, x):
        return x.new_zeros(len(x), self.num_classes)
'''


@pytest.mark.parametrize("name", list(shipped()))
def test_shipped_recipes_are_in_order(name, capsys):
    assert dispatch(["check", name]) == 0
    assert capsys.readouterr().out.endswith(": OK\n")


def test_a_folder_that_does_not_exist_yet_is_reported(tmp_path, capsys):
    for place, told in (
        (tmp_path / "none", f"data.root: there is no folder {tmp_path / 'none'}; its labels"),
        ("", ""),
    ):
        change = [f"--data.root={place}"] if place else ["--data={name: synthetic, channels: 3}"]
        assert dispatch(["check", "folder/classify", *change]) == 0
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == bool(told)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        (
            "ddpm",
            "--task.sampler.name=flow_ode",
            "ddpm.yaml:6: task: flow_ode requires a process that is linear in time",
        ),
        ("ddpm", "--task.network.heads=3", "ddpm.yaml:8: task.network: heads is 3: it must divide the 64 channels"),
        (
            "ddpm",
            "--task.network.cond_channels=2",
            "ddpm.yaml:6: task: cond['image'] must have 2 channels (cond_channels)",
        ),
        ("ddpm", "--task.network=cnn", "ddpm.yaml:6: task: CNN does not fit this task: "),
        ("cnn", "--task.network.layers=[linear 8, conv 3]", "cnn.yaml:6: task.network: layers: 'conv 3' must precede"),
        ("cnn", "--task.network.freeze=['*']", "cnn.yaml:6: task.network.freeze: must leave something to train"),
        ("ddpm", "--task.network.freeze=[backbone, head]", "ddpm.yaml:8: task.network.freeze: must leave something to"),
        ("ddpm", "--task.process=learned", "ddpm.yaml:6: task: LearnedProcess requires the weighting"),
        ("ddpm", "--task.sampler=mean_flow", "ddpm.yaml:6: task: the sampler mean_flow requires a model trained by"),
        ("ddpm", "--data.augment=[mixup]", "ddpm.yaml:6: task: class_labels needs one class per image, MixUp mixes"),
        (
            "ddpm",
            "--callbacks=[early_stopping]",
            "EarlyStopping requires a task with a metric to monitor",
        ),
        ("ddpm", "--callbacks=[{name: evaluation, metrics: [is]}]", "InceptionScore requires features of a classifier"),
        ("ddpm", "--callbacks=[{name: evaluation, metrics: [anomaly]}]", "Anomaly requires other images"),
        ("gan", "--callbacks=[{name: evaluation, metrics: [bpd]}]", "bpd requires a model with a likelihood"),
        ("gan", "--task.discriminator={name: resnet, width: 4}", "gan.yaml:5: task: ResNet must return one number per"),
        ("cnn", "--task.network=autoencoder", "cnn.yaml:6: task: Autoencoder must return 10 logits per image"),
        ("folder/classify", "--data.range=[5, 2]", "classify.yaml:8: data: range must increase, got 5.0 to 2.0"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(name, change, told, capsys):
    assert dispatch(["check", name, change]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ddpm", "--task.network.in_channels=3"),
        ("ddpm", "--task.network.num_classes=7"),
        ("ddpm", "--task.network.width=8192"),
        ("cnn", "--task.network.num_classes=7"),
        ("cnn", "--task.class_weights=[1, 2, 3]"),
    ],
)
def test_what_depends_on_the_data_or_the_machine_is_left_to_fit(name, change, capsys):
    assert dispatch(["check", name, change]) == 0
    assert capsys.readouterr().out.endswith(": OK\n")


def test_own_parts_are_checked_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    (tmp_path / "parts.py").write_text(MINE)
    (tmp_path / "r.yaml").write_text("task: {name: classification, network: mine_of_check}\ndata: digits\n")
    arguments = ["check", str(tmp_path / "r.yaml"), "--import", str(tmp_path / "parts.py")]
    assert dispatch(arguments) == 0
    assert dispatch([*arguments, "--task.network.width", "5"]) == 0
    capsys.readouterr()
    assert dispatch([*arguments, "--task.network.widht", "5"]) == 2
    assert "did you mean 'width'?" in capsys.readouterr().err


def test_a_fit_without_anything_to_train_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dispatch(["fit", "--config", "cnn", "--quiet", "--task.network.freeze=['*']"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("cnn.yaml:6: task: has nothing to train: all weights are frozen")


NETWORK = "{name: plain_unet, width: 8, multipliers: [1], blocks: 1}"
UNET = "{name: unet, width: 8, multipliers: [1]}"


@pytest.mark.parametrize(
    ("task", "line"),
    [
        (f"{{name: restoration_network, network: {NETWORK}}}", "loss supervised requires clean images"),
        (
            f"{{name: restoration_network, network: {NETWORK}, loss: noise2noise, corruption: jpeg}}",
            "loss noise2noise requires a corruption with random noise, got Jpeg; use supervised",
        ),
        (
            f"{{name: restoration_network, network: {NETWORK}, loss: sure, corruption: gaussian, operator: grayscale}}",
            "loss sure only denoises: the operator must be Identity, got Grayscale; use supervised",
        ),
        ("{name: restoration, model: {from: r}, operator: identity}", "sigma must be above 0 with the identity"),
        ("{name: consistency, from: r, first_stage: 9}", "first_stage must be at most stages = 8, got 9"),
        (
            "{name: restoration, model: {from: r}, operator: average, sigma: 1, method: ddnm, steps: 3}",
            "steps must not be set if a method is given, got 3",
        ),
        (
            f"{{name: diffusion, network: {UNET}, process: cosine, prediction: v, weighting: elbo, "
            "conditioning: {name: class_labels, drop: 0}}",
            "conditioning.drop must be above 0 with the weighting `elbo`",
        ),
        (
            f"{{name: ot_flow, network: {UNET}, process: rectified, prediction: v, conditioning: masked_image}}",
            "ot_flow requires the conditioning class_labels or unconditional",
        ),
    ],
)  # fmt: skip
def test_parts_that_a_task_cannot_train_are_refused(tmp_path, capsys, task, line):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"task: {task}\ndata: {{name: synthetic, channels: 3}}\ntrainer: {{max_steps: 9}}\n")
    assert dispatch(["check", str(recipe)]) == 2
    assert capsys.readouterr().err.startswith(f"{recipe}:1: task: {line}")
