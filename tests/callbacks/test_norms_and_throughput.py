"""Gradient and update norms, throughput, and the picture helper."""

import json

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch.utils.data import DataLoader, TensorDataset

from genmods.callbacks.norms import Norms, total_norm
from genmods.callbacks.report import Report
from genmods.callbacks.sample_grid import SampleGrid
from genmods.callbacks.throughput import Throughput, batch_size
from genmods.callbacks.weights import evaluation_weights
from genmods.tracking.csv import MetricsFile
from genmods.tracking.series import read_series
from genmods.visual.picture import to_picture


class Line(LightningModule):
    """loss = w · mean(x), so that gradient and update are known."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))

    def training_step(self, batch, index):
        return (self.w * batch[0].mean(0)).sum()

    def validation_step(self, batch, index):
        self.log("val/loss", self.training_step(batch, index))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, callbacks, steps=6, model=None, **settings):
    logger = MetricsFile()
    logger.begin(folder, {})
    data = DataLoader(TensorDataset(torch.tensor([[3.0, 4.0]]).repeat(16, 1)), batch_size=4)
    trainer = Trainer(
        default_root_dir=folder,
        logger=logger,
        callbacks=callbacks,
        max_steps=steps,
        log_every_n_steps=2,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        **settings,
    )
    trainer.fit(model or Line(), data, data)
    return read_series(folder / "metrics.csv")


def test_norms_are_those_of_the_step(tmp_path):
    series = fit(tmp_path, [Norms()], gradient_clip_val=1.0)
    assert [step for step, _ in series["train/grad_norm"]] == [1, 3, 5]
    assert [value for _, value in series["train/grad_norm"]] == pytest.approx([5, 5, 5])
    assert [value for _, value in series["train/update_norm"]] == pytest.approx([0.1] * 3, rel=1e-5)
    assert series["train/update_ratio"][0][1] == pytest.approx(0.1 / 4.9, rel=1e-5)


def test_total_norm_is_that_of_all_numbers():
    tensors = [torch.randn(3, 2), torch.randn(5).bfloat16()]
    flat = torch.cat([t.flatten().float() for t in tensors])
    assert total_norm(tensors).item() == pytest.approx(flat.norm().item(), rel=1e-6)


def test_throughput_is_logged_and_timing_written(tmp_path):
    series = fit(tmp_path, [Throughput()])
    assert [step for step, _ in series["train/images_per_s"]] == [1, 3, 5]
    assert all(value > 0 for _, value in series["train/images_per_s"] + series["train/memory_gb"])
    assert series["train/parameters"] == [(0, 2)]
    timing = json.loads((tmp_path / "timing.json").read_text())
    assert timing["steps"] == 6 and timing["train_seconds"] > 0 and timing["validate_seconds"] > 0


def test_timing_is_written_where_training_stops_early(tmp_path):
    class Stop(Callback):
        def on_train_batch_end(self, *_):
            raise SystemExit(143)

    with pytest.raises(SystemExit):
        fit(tmp_path, [Throughput(), Report(), Stop()])
    assert json.loads((tmp_path / "timing.json").read_text())["steps"] == 1
    assert (tmp_path / "report.html").is_file()


def test_batch_size_of_the_usual_batches():
    x = torch.zeros(7, 2)
    assert batch_size(x) == batch_size([x, x]) == batch_size({"image": x}) == batch_size([{"image": x}]) == 7


def test_judging_leaves_modes_and_generators(tmp_path):
    model = Line()
    model.train()
    seed_everything(1, verbose=False)
    expected = torch.rand(1)
    seed_everything(1, verbose=False)
    with evaluation_weights(Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), model):
        assert not model.training and not torch.is_grad_enabled()
        torch.rand(10)
    assert model.training and torch.equal(torch.rand(1), expected)


def test_a_picture_is_a_grid_with_gaps():
    images = torch.stack([torch.full((1, 2, 2), -1.0), torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 0.0)])
    picture = to_picture(images, columns=2, scale=1)
    assert picture.size == (7, 7) and picture.mode == "RGB"
    assert [picture.getpixel(p) for p in ((0, 0), (1, 1), (4, 1), (1, 4))] == [
        (128,) * 3,
        (0,) * 3,
        (255,) * 3,
        (128,) * 3,
    ]


def test_every_takes_a_positive_number():
    with pytest.raises(ValueError, match="every must be at least 1"):
        SampleGrid(every=0)
