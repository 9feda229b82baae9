"""The tasks of shipped recipes take a training step and sample on a device that has no float64, as on the CPU."""

from copy import deepcopy

import pytest
import torch

from genmods.config.recipe import load
from genmods.data.images import to_float
from genmods.models import Generates, model_of
from genmods.runs.fit import build_data, build_task
from support import no_float64

SMALL = ["--data.limit=64", "--data.batch_size=4", "--logger=null", "--callbacks=[]"]


NARROW = ["--task.network.width=8", "--task.sampler.name=ddim", "--task.sampler.steps=2"]
DIFFUSION = ["ddpm", "inpaint_conditional", "likelihood"]


@pytest.mark.parametrize("name", ["cnn", *DIFFUSION, "gan", "vae"])
def test_a_training_step_and_samples(name):
    recipe = load(name, SMALL + (NARROW if name in DIFFUSION else []))
    data = build_data(recipe)
    task = build_task(recipe, data.info)
    images = data.splits["train"]
    batch = {"image": to_float(images.pixels[:4], data.source.levels), "label": images.labels[:4]}
    batch["index"] = torch.arange(4)

    def trained(task, batch):
        """The weights after a step of gradient descent, and then samples."""
        task.log = task.log_mean = lambda *args, **kwargs: None
        torch.manual_seed(0)
        loss = task.training_step(batch, 0)
        (loss["loss"] if isinstance(loss, dict) else loss).backward()
        torch.optim.SGD(task.parameters(), 0.01).step()
        weights = torch.cat([parameter.detach().cpu().flatten() for parameter in task.parameters()])
        return weights, model_of(task.eval()).sample(2, seed=3).cpu() if isinstance(
            model_of(task), Generates
        ) else weights

    expected = trained(deepcopy(task), batch)
    with no_float64.device() as device:
        here = {key: value.to(device) for key, value in batch.items()}
        found = trained(deepcopy(task).to(device), here)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
