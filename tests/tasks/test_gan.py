"""The adversarial game: its losses and penalty against closed forms, and what counts as a step."""

import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from genmods.data.module import ImageData
from genmods.data.sources.digits import Digits
from genmods.models import GAN
from genmods.networks.base import Network
from genmods.tasks.base import FitPlan
from genmods.tasks.gan import GANTask


class Generate(Network):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 64)

    def forward(self, z):
        return self.layer(z).tanh().view(-1, 1, 8, 8)


class Judge(Network):
    """A linear discriminator, D(x) = w x + b."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 1)

    def forward(self, x):
        return self.layer(x.flatten(1)).squeeze(1)


def game(gamma=1.0, **settings):
    torch.manual_seed(0)
    return GANTask(GAN(Generate(), latent=4, image_size=8), Judge(), gamma=gamma, **settings)


def fit(task, folder, steps, **settings):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(
        default_root_dir=folder, max_steps=steps, accelerator="cpu", use_distributed_sampler=False, **quiet, **settings
    )
    trainer.fit(task, ImageData(Digits(), batch_size=8, limit=64))
    return trainer


def copy(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_the_penalty_keeps_the_precision_of_float64():
    """grad D = w for D = w x + b: gamma/2 w², to the last digits."""
    task, real = game(2.0).double(), torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    penalty = task._discriminator_loss(real, real) - game(0.0).double()._discriminator_loss(real, real)
    torch.testing.assert_close(penalty, task.discriminator.layer.weight.square().sum(), rtol=1e-13, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 4.0])
def test_the_penalty_of_a_linear_discriminator_is_half_gamma_w_squared(gamma):
    real, fake = torch.randn(2, 6, 1, 8, 8)
    task = game(gamma)
    weight = task.discriminator.layer.weight
    penalty = task._discriminator_loss(real, fake) - game(0.0)._discriminator_loss(real, fake)
    torch.testing.assert_close(penalty, gamma / 2 * weight.square().sum())
    (gradient,) = torch.autograd.grad(task._discriminator_loss(real, fake), weight)
    plain = game(0.0)
    (without,) = torch.autograd.grad(plain._discriminator_loss(real, fake), plain.discriminator.layer.weight)
    torch.testing.assert_close(gradient - without, gamma * weight)


def test_an_undecided_discriminator_loses_two_bits():
    task = game()
    nn.init.zeros_(task.discriminator.layer.weight)
    nn.init.zeros_(task.discriminator.layer.bias)
    loss = task._discriminator_loss(*torch.randn(2, 5, 1, 8, 8))
    assert float(loss) == pytest.approx(2 * math.log(2))


def test_a_step_is_one_batch_and_moves_both_networks(tmp_path):
    task = game()
    generator, discriminator = copy(task.model.network), copy(task.discriminator)
    trainer = fit(task, tmp_path, 5)
    assert trainer.global_step == 5
    assert trainer.fit_loop.epoch_loop.batch_progress.total.processed == 5
    assert all(not torch.equal(generator[name], tensor) for name, tensor in task.model.network.state_dict().items())
    assert all(not torch.equal(discriminator[name], tensor) for name, tensor in task.discriminator.state_dict().items())
    assert all(parameter.requires_grad for parameter in task.parameters())


def test_one_step_of_gradient_descent_on_each_loss(tmp_path):
    """Against both updates by hand, each from the weights before the step."""
    task, twin = game(plan=FitPlan(optimizer=partial(torch.optim.SGD, lr=0.1))), game()
    seen = {}
    task.on_train_batch_end = lambda outputs, batch, batch_idx: seen.update(batch)
    fit(task, tmp_path, 1)
    torch.manual_seed(0)
    task.trainer.fit_loop.epoch_loop.batch_progress.total.processed = 0
    task.on_train_batch_start(seen, 0)  # the generators as they were seeded for that batch
    fake = twin.model.network(torch.randn(8, 4))
    losses = {
        twin.discriminator: twin._discriminator_loss(seen["image"], fake.detach()),
        twin.model.network: nn.functional.softplus(-twin.discriminator(fake)).mean(),
    }
    gradients = {player: torch.autograd.grad(loss, [*player.parameters()]) for player, loss in losses.items()}
    for player in losses:
        for parameter, gradient in zip(player.parameters(), gradients[player], strict=True):
            parameter.data -= 0.1 * gradient
    torch.testing.assert_close(task.state_dict(), twin.state_dict())


def test_no_loss_has_a_gradient_in_the_other_player():
    task = game()
    fake = task.model.network(torch.randn(6, 4))
    assert all(p.requires_grad for p in task.parameters())
    task._generator_loss(fake).backward(retain_graph=True)
    assert all(p.grad is None for p in task.discriminator.parameters())
    assert all(p.grad.abs().sum() > 0 and p.requires_grad for p in task.model.network.parameters())
    task.zero_grad()
    task._discriminator_loss(torch.randn(6, 1, 8, 8), fake.detach()).backward()
    assert all(p.grad is None for p in task.model.network.parameters())


def test_a_sample_depends_on_its_seed_and_number_alone():
    images = game().model.sample(10, seed=3, batch_size=3)
    torch.testing.assert_close(images, game().model.sample(10, seed=3, batch_size=7), atol=1e-5, rtol=0)
    torch.testing.assert_close(images[6:], game().model.sample(4, seed=3, first=6), atol=1e-5, rtol=0)
    assert images.shape == (10, 1, 8, 8) and not torch.allclose(images, game().model.sample(10, seed=4))


@pytest.mark.parametrize(
    ("settings", "line"), [({"latent": 7}, "Generate does not fit"), ({"image_size": 9}, "Generate must return images")]
)
def test_players_that_do_not_fit_are_refused(settings, line):
    with pytest.raises(ValueError, match=line):
        GAN(Generate(), **{"latent": 4, "image_size": 8} | settings)


def test_settings_out_of_range():
    with pytest.raises(ValueError, match="latent must be at least 1, got 0"):
        GAN(Generate(), latent=0)
    with pytest.raises(ValueError, match=r"gamma must be at least 0, got -1"):
        game(gamma=-1.0)
