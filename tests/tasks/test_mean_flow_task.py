"""Mean flow as a task: guidance in one call per step, refusals, gradients, also of two processes."""

import multiprocessing
import os

import pytest
import torch
from torch import nn

from genmods import create
from genmods.callbacks.strips import DiffusionStrip
from genmods.core.errors import UserError
from genmods.diffusion import Denoiser, MeanFlowLoss, MeanFlowSampler
from support.small_tasks import FACTS, batch, diffusion, made


def test_a_guided_step_is_one_call():
    model = made("mean_flow with guidance").model.eval()
    calls = []
    model.denoiser.network.register_forward_hook(lambda module, inputs, output: calls.append(inputs[2]))
    model.sample(3, guidance=2.5, sampler="mean_flow", steps=2)
    assert [cond["guidance"].tolist() for cond in calls] == [[2.5] * 3] * 2
    assert [cond["end"].shape for cond in calls] == [(3,), (3,)]
    model.sample(3, sampler="mean_flow", steps=1)
    assert "guidance" not in calls[-1]
    for scale in (0.5, 3.5):
        with pytest.raises(UserError, match=rf"guidance must lie in \[1, 3\], as in training, got {scale}"):
            model.sample(3, guidance=scale)


def test_guidance_without_training_is_that_of_two_calls():
    model = made("mean_flow").model.eval()
    with pytest.raises(UserError, match="has no guidance but that of its model"):
        model.sample(3, sampler="mean_flow", guidance=2.0)
    assert model.sample(3, sampler="unipc", steps=2, guidance=2.0).isfinite().all()


def test_a_strip_of_its_steps():
    model = diffusion(task="mean_flow", conditions={"two_times": True}, sampler=MeanFlowSampler(3)).model.eval()
    strip = DiffusionStrip(stages=4)
    strip.batch = batch("mean_flow", "cpu")
    columns = strip.columns(model, strip.batch["image"])
    assert len(columns) == 8 and all(column.shape == (4, 1, 8, 8) for column in columns)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "mean_flow requires a network with two_times, such as unet or dit, got UNet"),
        ({"conditions": {"two_times": True}, "max_guidance": 2.0}, "requires a network with guided"),
        (
            {
                "conditions": {"two_times": True, "guided": True},
                "max_guidance": 2.0,
                "conditioning": "masked_image",
                "classes": 0,
            },
            "max_guidance must be 1 unless a condition is dropped in training",
        ),
        ({"max_guidance": 0.5}, "max_guidance must be at least 1, got 0.5"),
    ],
)
def test_refusals(settings, line):
    with pytest.raises(ValueError, match=line):
        diffusion(task="mean_flow", **settings)


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_a_step_reaches_every_weight(name):
    """Losses and gradients are finite, also of the weights of the second time and the scale."""
    torch.manual_seed(0)
    small = {"unet": {"width": 8, "multipliers": (1, 2), "blocks": 1}, "dit": {"width": 8, "depth": 1}}[name]
    network = create("network", name, **small, num_classes=3, two_times=True, guided=True)
    parts = {"process": create("process", "cosine"), "prediction": create("prediction", "v")}
    labels = create("conditioning", "class_labels", num_classes=3, drop=0.5)
    task = create("task", "mean_flow", network=network, conditioning=labels, max_guidance=2.0, **parts, **FACTS)
    task.log_mean = lambda *args, **kwargs: None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    task.training_step(batch("mean_flow", "cpu"), 0)["loss"].backward()
    silent = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(key.endswith(("conv.bias", "label.weight")) for key in silent)
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_bfloat16_and_compiled_networks(name):
    """The derivative is taken in float32 of the network as it was before it was compiled."""
    small = {"unet": {"width": 8, "multipliers": (1, 2), "blocks": 1}, "dit": {"width": 8, "depth": 1}}[name]
    network = create("network", name, **small, two_times=True)
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    denoiser = Denoiser(network, create("process", "cosine"), create("prediction", "v"))
    given = {"u": torch.rand(2, 8), "eps": torch.randn(8, 1, 8, 8)}
    loss, x0 = MeanFlowLoss(gaps=0.5), torch.randn(8, 1, 8, 8)
    plain = loss(denoiser, x0, **given).error
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(denoiser, x0, **given).error, plain, rtol=0.01, atol=0)
    network.compile(backend="eager")
    compiled = loss(denoiser, x0, **given)
    compiled.per_sample.mean().backward()
    torch.testing.assert_close(compiled.error, plain)
    assert all(parameter.grad is not None for parameter in network.parameters())


class Step(nn.Module):
    """The loss of a training step as a forward pass, which `DistributedDataParallel` wraps."""

    def __init__(self):
        super().__init__()
        self.task = made("mean_flow with guidance")
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))

    def forward(self, rank):
        torch.manual_seed(rank)
        given = batch("mean_flow", "cpu")
        return self.task.training_step(given | {"image": torch.randn(given["image"].shape)}, 0)["loss"]


def of_two(rank, folder):
    """The gradients of one of two processes, written to `folder`."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    module = nn.parallel.DistributedDataParallel(Step())
    module(rank).backward()
    torch.save([p.grad for p in module.parameters()], folder / f"{rank}.pt")
    os._exit(0)


@pytest.mark.skipif(os.name != "posix", reason="starts two processes with gloo")
def test_gradients_of_two_processes_are_their_mean(tmp_path):
    started = [multiprocessing.get_context("fork").Process(target=of_two, args=(rank, tmp_path)) for rank in range(2)]
    for process in started:
        process.start()
    single = []
    for rank in range(2):
        module = Step()
        module(rank).backward()
        single.append([p.grad for p in module.parameters()])
    for process in started:
        process.join(60)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for one, other, first, second in zip(*found, *single, strict=True):
        torch.testing.assert_close(one, (first + second) / 2, rtol=1e-4, atol=1e-6)
        assert torch.equal(one, other)
