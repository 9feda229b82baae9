"""Every task on a CUDA device that computes nothing (`support.fake_cuda`), and its backward pass on the device meta.

What needs values or a driver, and so the tests marked `gpu`: autocast to bfloat16; the gradients within a step, of the
R1 penalty and of the probability flow's divergence, on CUDA (on meta the penalty is here); what Lightning reads for its
logs and bars; and, of what is here, the branches that a value read from the device decides.
"""

from functools import cache

import pytest
import torch
from torch import nn

from genmods import create
from genmods.config.builtins import BUILTINS
from genmods.core import random
from genmods.diffusion import Denoiser, DiffusionLoss, bound_bits_per_dim, noise_stream
from support.fake_cuda import CUDA, counted, fake_cuda
from support.small_tasks import TASKS, batch, made

WAITS = {
    "core.random:_constants: to the device": "four constants, once per process and device",
    "diffusion.denoiser:Denoiser.conditioned: size by values": "once per batch of samples: a label out of range would"
    " end the process in CUDA's embedding",
    "diffusion.process:NoiseProcess.on_cpu: to the CPU": "a process with tensors, once per tensor and sampling: its"
    " coefficients along the grid are Python numbers",
    "diffusion.samplers.base:SamplerState.__post_init__: to the device": "the times of the grid, once per sampling",
    "diffusion.coupling:optimal_transport: to the CPU": "an assignment per batch and class, in training too",
    "diffusion.coupling:optimal_transport: to the device": "the order of the noise",
    "restoration.operators.blur:Blur.transfer: to the device": "the kernel, once per size of images and device",
    "core.image_range:check_finite: read": "once per restoration: images must be finite",
    "restoration.restore:check_range: read": "once per restoration: measured images must be on [-1, 1]",
    "restoration.noise:rounding: read": "once per restoration: images of 8 or 16 bits have rounding noise",
    "restoration.restore:restore: to the device": "the rows of a batch of draws choose their measurements",
    "diffusion.noise:noise_stream: to the device": "the numbers of the draws, once per batch of draws",
    "tasks.classification:ClassificationTask.evaluation_step: size by values": "torchmetrics drops ignored labels",
    "tasks.restoration:RestorationTask.restored: to the CPU": "the images' numbers, which seed the draws",
}
"""Every wait for the device outside of training, by the function that asks, and why it is there."""


def training(task, given):
    if task.trainable:
        task.training_step(given, 0)


def evaluation(task, given):
    with torch.no_grad():
        task.validation_step(given, 0)


def sampling(task, given):
    if hasattr(task.model, "sample"):
        task.model.sample(3)


def updating(task, given):
    """A step of AdamW and of Muon from gradients of zero, which on CUDA treat all tensors at once."""
    for name in ("adamw", "muon"):
        optimizer = create("optimizer", name)(task.groups())
        for parameter in task.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()


@cache
def waits(name, stage):
    """The waits for the device in a stage of the task `name`; raises where tensors of two devices meet."""
    task = made(name)
    random._constants.cache_clear()
    with fake_cuda() as mode:
        task.to(CUDA)
        given = batch(name, CUDA)
        with counted(mode) as seen:
            stage(task, given)
    return set(seen)


ON_THE_CPU = {"ot_flow"}
"""Tasks whose training step solves an assignment on the CPU, and so waits for the device."""


def test_every_task_is_here():
    assert {name.split()[0] for name in TASKS} == set(BUILTINS["task"])


@pytest.mark.parametrize("name", [name for name in TASKS if name not in {"gan with R1", "restoration"} | ON_THE_CPU])
@pytest.mark.parametrize("stage", [training, updating])
def test_a_training_step_never_waits(name, stage):
    assert waits(name, stage) <= {"core.random:_constants: to the device"}  # once per process


def test_every_other_wait_is_explained():
    seen = {wait for name in TASKS for stage in (evaluation, sampling) for wait in waits(name, stage)}
    assert seen == set(WAITS)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [(name, "muon") for name in TASKS if name not in {"restoration"} | ON_THE_CPU]
    + [("vae", name) for name in BUILTINS["optimizer"]],
)
def test_backward_pass_and_update_read_no_value(name, optimizer):
    task = made(name).to("meta")
    before = {key: value.shape for key, value in task.state_dict().items()}
    optimizer = create("optimizer", optimizer, lr=1e-3)(task.groups())
    loss = task.training_step(batch(name, "meta"), 0)
    (loss["loss"] if isinstance(loss, dict) else loss).backward()
    assert all(p.grad is not None for group in optimizer.param_groups for p in group["params"])
    optimizer.step()
    assert {key: value.shape for key, value in task.state_dict().items()} == before


class Tiny(nn.Module):
    two_times = True

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, log_snr, cond=None):
        return self.layer(x) * log_snr.tanh()[:, None, None, None]


def processes():
    settings = {"cosine": {"steps": 10}, "linear": {"steps": 50}, "sigmoid": {"steps": 10}}
    yield from ((name, {}) for name in BUILTINS["process"])
    yield from settings.items()


def denoiser(process, settings):
    return Denoiser(Tiny(), create("process", process, **settings), create("prediction", "v"), 0.5)


def loss_parts(process):
    """Pairs of density and weighting, in which each is there that `process` can be trained with."""
    if process == "learned":
        return [("uniform", "elbo"), ("low_discrepancy", "sigmoid")]
    return [(name, "simple") for name in BUILTINS["density"]] + [("uniform", name) for name in BUILTINS["weighting"]]


def made_loss(density, weighting):
    return DiffusionLoss(create("density", density), create("weighting", weighting))


@pytest.mark.parametrize(("process", "settings"), processes())
def test_losses_never_wait(process, settings):
    with fake_cuda() as mode:
        model = denoiser(process, settings).to(CUDA)
        losses = [made_loss(*parts).to(CUDA) for parts in loss_parts(process)]
        images = torch.zeros(4, 1, 8, 8, device=CUDA)
        with counted(mode) as seen:
            for loss in losses:
                assert loss(model, images).per_sample.device == CUDA
    assert set(seen) == set()


def sampling_waits(process, settings, *samplers):
    with fake_cuda() as mode:
        model = denoiser(process, settings).to(CUDA).conditioned({})
        noise = noise_stream(0, torch.arange(2, device=CUDA), (1, 4, 4))
        with counted(mode) as seen:
            for sampler in samplers:
                assert sampler.sample(model, noise).device == CUDA
            bits = bound_bits_per_dim(model, torch.zeros(2, 1, 4, 4, device=CUDA), num_times=1)
            assert bits.total.device == CUDA
    return set(seen)


@pytest.mark.parametrize(("process", "settings"), processes())
def test_sampling_and_likelihood_on_every_process_wait_as_explained(process, settings):
    assert sampling_waits(process, settings, create("sampler", "heun", steps=2, churn=1.0)) <= set(WAITS)


def test_every_sampler_waits_as_explained():
    samplers = {name: create("sampler", name, steps=3) for name in BUILTINS["sampler"]}
    assert sampling_waits("rectified", {}, samplers.pop("flow_ode")) <= set(WAITS)
    assert sampling_waits("cosine", {}, *samplers.values()) <= set(WAITS)
