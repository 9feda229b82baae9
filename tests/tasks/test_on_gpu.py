"""What only a GPU shows: bfloat16 under autocast, fused optimizers, `torch.compile`, steps that wait for nothing."""

import pytest
import torch

from genmods import create
from support.small_tasks import TASKS, batch, made

DEVICE = torch.device("cuda")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
TRAINED = [name for name in TASKS if name != "restoration"]


def filled(name):
    """A batch of random images and of labels of every class."""
    given = batch(name, DEVICE)
    generator = torch.Generator().manual_seed(0)
    given["image"] = (2 * torch.rand(given["image"].shape, generator=generator) - 1).to(DEVICE)
    given["label"] = (torch.arange(given["label"].numel()) % 3).view(given["label"].shape).to(given["label"])
    if name == "multilabel":
        given["label"] = (given["label"] > 0).long()
    return given


def loss_of(task, given):
    torch.manual_seed(0)  # the same times and noise each time
    out = task.training_step(given, 0)
    return out["loss"] if isinstance(out, dict) else out


def gradient(task, given, reduced):
    task.zero_grad()
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=reduced):
        loss = loss_of(task, given)
    loss.backward()
    return loss.item(), torch.cat([p.grad.float().flatten() for p in task.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", TRAINED)
def test_the_gradient_under_autocast_is_near_that_in_float32(name):
    task, given = made(name).to(DEVICE), filled(name)
    loss, exact = gradient(task, given, False)
    reduced_loss, reduced = gradient(task, given, True)
    assert reduced_loss == pytest.approx(loss, rel=0.05, abs=0.01)
    assert (reduced - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("optimizer", [("adamw", {"fused": True}), ("adam", {"fused": True}), ("muon", {})])
def test_fused_steps_lower_the_loss_of_a_batch(name, optimizer):
    task, given = made(name).to(DEVICE), filled(name)
    kind, settings = optimizer
    step = create("optimizer", kind, lr=1e-3, **settings)(task.groups())
    losses = []
    for _ in range(20):
        loss, _ = gradient(task, given, True)
        losses.append(loss)
        step.step()
    assert all(torch.isfinite(p).all() for p in task.parameters())
    assert name.startswith("gan") or losses[-1] < losses[0]


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step_never_waits(name):
    task, given = made(name).to(DEVICE), filled(name)
    step = create("optimizer", "adamw", fused=True)(task.groups())

    def once():
        step.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16):
            out = task.training_step(given, 0)
        (out["loss"] if isinstance(out, dict) else out).backward()
        step.step()

    once()  # libraries choose their kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        once()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["unet", "dit", "vdm"])
def test_a_compiled_network_computes_the_same(name):
    settings = {"unet": {"width": 8, "multipliers": (1, 2)}, "dit": {"width": 16, "depth": 1}, "vdm": {"width": 8}}
    torch.manual_seed(0)
    network = create("network", name, num_classes=3, **settings[name]).to(DEVICE)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))  # layers that start at zero hide those before them
    x, log_snr = torch.randn(4, 1, 8, 8, device=DEVICE), torch.linspace(-5, 5, 4, device=DEVICE)
    cond = {"label": torch.tensor([-1, 0, 1, 2], device=DEVICE)}
    expected = network(x, log_snr, cond)
    torch.testing.assert_close(torch.compile(network)(x, log_snr, cond), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", TRAINED)
def test_evaluation_and_samples_are_finite(name):
    task, given = made(name).to(DEVICE).eval(), filled(name)
    with torch.no_grad(), torch.autocast(DEVICE.type, torch.bfloat16):
        task.validation_step(given, 0)
        if hasattr(task.model, "sample"):
            images = task.model.sample(3)
            assert images.device.type == DEVICE.type and images.isfinite().all() and images.abs().max() <= 1
