"""Commands that use a trained model do not import training code: a child process runs all of them and lists what it
imported.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from genmods.config.build import build
from genmods.config.recipe import from_plain
from genmods.data.files import Picture, write_image
from genmods.data.info import DataInfo
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.export.file import export

TRAINING = {"lightning", "lightning_fabric", "pytorch_lightning", "torchmetrics", "wandb"}
CODE = """
import json, sys
import genmods
from genmods.cli import dispatch
model = genmods.load("diffusion.safetensors")
statuses = [dispatch(command) for command in json.loads(sys.argv[1])]
print(json.dumps([type(model).__name__, model.sample(2).shape, statuses, sorted(sys.modules)]))
"""
UNET = {"name": "unet", "width": 4, "multipliers": [1], "blocks": 1, "attention": []}
TASKS = {
    "diffusion": {"network": UNET, "process": "cosine", "prediction": "v", "sampler": {"name": "ddim", "steps": 2}},
    "classification": {"network": {"name": "cnn", "layers": ["conv 4", "avgpool"]}},
}
FROM = {
    "diffusion": ["--ckpt_path", "diffusion.safetensors"],
    "classifier": ["--ckpt_path", "classification.safetensors"],
}
RESTORING = ["--input", "a.png", "--quiet", "--steps", "2"]
COMMANDS = [
    ["classify", *FROM["classifier"], "--input", "a.png", "--out", "classes.csv"],
    ["generate", *FROM["diffusion"], "--n", "2", "--out", "generated", "--quiet"],
    ["denoise", *FROM["diffusion"], *RESTORING, "--sigma", "25", "--out", "denoised"],
    ["inpaint", *FROM["diffusion"], *RESTORING, "--mask", "box:2,2,3,3", "--method", "ddnm", "--out", "inpainted"],
    ["restore", *FROM["diffusion"], *RESTORING, "--operator", "gaussian_blur:sigma=1", "--out", "restored"],
    ["export", *FROM["diffusion"], "--out", "again.safetensors"],
]


@pytest.fixture
def place(tmp_path):
    """A folder with an exported model of each task and an image."""
    info = DataInfo((1, 8, 8), 3, (0.0,), (0.5,), 256, ["a", "b", "c"])
    for name, settings in TASKS.items():
        plain = {"name": "x", "seed": 0, "task": {"name": name, **settings}, "data": {"name": "digits"}}
        task = build(from_plain(plain).task, info.settings())
        export(Checkpoint(plain, info, task.state_dict()), tmp_path / f"{name}.safetensors")
    write_image(tmp_path / "a.png", Picture(torch.zeros(1, 8, 8)))
    return tmp_path


def test_no_command_that_uses_a_model_imports_what_trains_one(place):
    result = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(COMMANDS)], cwd=place, capture_output=True, text=True, timeout=600
    )
    kind, shape, statuses, modules = json.loads(result.stdout.splitlines()[-1])
    assert statuses == [0] * len(COMMANDS), result.stderr
    assert kind == "DiffusionModel" and shape == [2, 1, 8, 8]
    assert not TRAINING & {name.partition(".")[0] for name in modules}
