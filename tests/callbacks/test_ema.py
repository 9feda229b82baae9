"""Averaged weights: their recursion, where they stand in for the raw ones, and how both are saved."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from genmods.callbacks.ema import EMA, averaged_tensors, find_ema
from genmods.core.errors import UserError
from genmods.data.info import DataInfo
from genmods.runs.checkpoint import Checkpoint


class Toy(LightningModule):
    """A linear layer and a batch norm, whose running statistics are averaged and whose counter is not."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm = nn.Linear(3, 2), nn.BatchNorm1d(2)

    def training_step(self, batch, index):
        return self.norm(self.layer(batch[0])).square().mean() + self.layer.weight.square().sum()

    def validation_step(self, batch, index):
        self.norm(self.layer(batch[0]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def copied(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def same(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


class Spy(Callback):
    """The weights after each batch, in each validation, and in a checkpoint that is written while validating."""

    def __init__(self, path=None):
        self.path, self.after_batch, self.validating = path, [], []

    def on_train_start(self, trainer, pl_module):
        self.after_batch.append(copied(averaged_tensors(pl_module)))

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.after_batch.append(copied(averaged_tensors(pl_module)))

    def on_validation_epoch_end(self, trainer, pl_module):
        self.validating.append(copied(averaged_tensors(pl_module)))
        if self.path:
            trainer.save_checkpoint(self.path)


def fit(folder, callbacks, steps=6, module=None, ckpt_path=None, **settings):
    batch = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(batch.repeat(8, 1))
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        callbacks=callbacks,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **{"val_check_interval": 3, "check_val_every_n_epoch": None, **settings},
    )
    module = module or Toy()
    trainer.fit(module, DataLoader(data, 4), DataLoader(data, 16), ckpt_path=ckpt_path, weights_only=True)
    return trainer, module


def recursion(raw, decay):
    """w_ema <- d w_ema + (1 - d) w, d = min(decay, (1 + n)/(10 + n)), from the first weights on, in float64."""
    average = {name: tensor.double() for name, tensor in raw[0].items()}
    for n, weights in enumerate(raw[1:]):
        d = min(decay, (1 + n) / (10 + n))
        average = {name: d * average[name] + (1 - d) * weights[name].double() for name in average}
    return average


def test_each_average_follows_its_recursion(tmp_path):
    ema, spy = EMA((0.3, 0.15, 0.9999)), Spy()
    fit(tmp_path, [ema, spy])
    assert ema.updates == 6 and len(spy.after_batch) == 7
    for decay, shadow in zip(ema.decays, ema.shadows, strict=True):
        expected = {name: tensor.float() for name, tensor in recursion(spy.after_batch, decay).items()}
        torch.testing.assert_close(shadow, expected)


def test_an_update_is_an_optimizer_step_not_a_batch(tmp_path):
    ema, spy = EMA((0.3,)), Spy()
    trainer, _ = fit(tmp_path, [ema, spy], steps=3, accumulate_grad_batches=2)
    assert (trainer.global_step, ema.updates, len(spy.after_batch)) == (3, 3, 7)
    raw = [spy.after_batch[0], *spy.after_batch[2::2]]
    assert ema.shadows[0]["layer.weight"] == pytest.approx(recursion(raw, 0.3)["layer.weight"].float())


def test_the_average_replaces_the_raw_weights_during_validation_only(tmp_path):
    ema, spy = EMA((0.5,)), Spy()
    _, module = fit(tmp_path, [ema, spy])
    first = {name: tensor.float() for name, tensor in recursion(spy.after_batch[:4], 0.5).items()}
    torch.testing.assert_close(spy.validating[0], first)
    assert not same(spy.validating[0], spy.after_batch[3])
    assert same(copied(averaged_tensors(module)), spy.after_batch[-1])
    assert not ema.swapped


def test_counters_are_left_alone(tmp_path):
    ema = EMA((0.5,))
    _, module = fit(tmp_path, [ema])
    assert module.norm.num_batches_tracked.item() == 6
    assert set(ema.shadows[0]) == set(module.state_dict()) - {"norm.num_batches_tracked"}


def test_a_checkpoint_holds_both_also_when_it_is_written_while_validating(tmp_path):
    ema, spy = EMA((0.5, 0.9)), Spy(tmp_path / "while.ckpt")
    trainer, module = fit(tmp_path, [ema, spy])
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    inside, after = (torch.load(tmp_path / name, weights_only=True) for name in ("while.ckpt", "after.ckpt"))
    assert same(inside["state_dict"], after["state_dict"])
    assert inside["ema"]["decays"] == [0.5, 0.9] and inside["ema"]["updates"] == after["ema"]["updates"] == 6
    for first, second in zip(inside["ema"]["weights"], after["ema"]["weights"], strict=True):
        assert same(first, second)
    assert same(copied(averaged_tensors(module)), {k: v for k, v in after["state_dict"].items() if k in ema.shadows[0]})
    assert same(spy.validating[-1], inside["ema"]["weights"][0])


def test_what_is_loaded(tmp_path):
    ema = EMA((0.5,))
    trainer, _ = fit(tmp_path, [ema])
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content |= {
        "recipe": {"name": "mine", "seed": 0, "task": {"name": "vae"}, "data": {"name": "digits"}},
        "data_info": DataInfo((1, 8, 8), 10, 0.0, 1.0, 256, []).plain(),
        "preparation": None,
    }
    checkpoint, raw = Checkpoint.of(content), content["state_dict"]
    assert torch.equal(checkpoint.weights()["layer.weight"], ema.shadows[0]["layer.weight"])
    assert torch.equal(checkpoint.weights()["norm.num_batches_tracked"], raw["norm.num_batches_tracked"])
    assert same(checkpoint.weights(raw=True), raw)
    del content["ema"]
    assert same(Checkpoint.of(content).weights(), raw)


def test_a_continued_run_has_the_averages_of_an_uninterrupted_one(tmp_path):
    whole, half, rest = EMA((0.5, 0.9)), EMA((0.5, 0.9)), EMA((0.5, 0.9))
    fit(tmp_path, [whole], steps=16)
    trainer, _ = fit(tmp_path, [half], steps=8)  # one epoch
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    fit(tmp_path, [rest], steps=16, ckpt_path=tmp_path / "half.ckpt")
    assert rest.updates == whole.updates == 16
    assert all(map(same, rest.shadows, whole.shadows))


def test_other_decays_in_a_continued_run_are_refused(tmp_path):
    trainer, _ = fit(tmp_path, [EMA((0.5,))], steps=2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"must be those of the checkpoint, \[0.5\], got \[0.5, 0.9\]"):
        fit(tmp_path, [EMA((0.5, 0.9))], steps=4, ckpt_path=tmp_path / "last.ckpt")


def test_a_fault_while_validating_leaves_the_raw_weights(tmp_path):
    class Faulty(Toy):
        def validation_step(self, batch, index):
            raise ZeroDivisionError

    ema, spy, module = EMA((0.5,)), Spy(), Faulty()
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, [ema, spy], module=module)
    assert not ema.swapped and same(copied(averaged_tensors(module)), spy.after_batch[-1])


def test_weights_for_a_look(tmp_path):
    ema = EMA((0.5,))
    trainer, module = fit(tmp_path, [ema])
    raw, average = copied(averaged_tensors(module)), copied(ema.shadows[0])
    with ema.weights(module, averaged=True):
        assert same(copied(averaged_tensors(module)), average)
        with ema.weights(module, averaged=False):
            assert same(copied(averaged_tensors(module)), raw)
        assert same(copied(averaged_tensors(module)), average)
    assert same(copied(averaged_tensors(module)), raw) and same(ema.shadows[0], average)
    assert find_ema(trainer) is ema


def test_the_average_of_bfloat16_weights_follows_them(tmp_path):
    """Weights that rise by 2 in 2,000 steps: at a decay of 0.995 the average lags by 199 steps, 0.2. Most updates are
    below half a unit in the last place of bfloat16."""
    ema, module = EMA((0.995,)), nn.Linear(40, 40, dtype=torch.bfloat16)
    trainer = SimpleNamespace(global_step=0)
    start, weight = torch.rand(40, 40), module.weight
    ema.on_train_start(trainer, module)
    for trainer.global_step in range(1, 2001):
        weight.data = (start + 2 * trainer.global_step / 2000).bfloat16()
        ema.on_train_batch_end(trainer, module)
    lag = start + 2 - ema.shadows[0]["weight"]
    assert (lag - 0.199).abs().max() < 0.01
    raw = weight.detach().clone()
    with ema.weights(module, averaged=True):
        assert module.weight.dtype is torch.bfloat16
        assert torch.equal(module.weight, ema.shadows[0]["weight"].bfloat16())
    assert torch.equal(module.weight, raw) and ema.shadows[0]["weight"].dtype is torch.float32


@pytest.mark.parametrize("decays", [(), (1.0,), (0.9, 0.0)])
def test_decays_out_of_range(decays):
    with pytest.raises(ValueError, match=r"decays.* must be (of at least 1 item|above 0|less than 1), got"):
        EMA(decays)
