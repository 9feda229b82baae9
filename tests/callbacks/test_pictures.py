"""Pictures and tables of diffusion and classification tasks, drawn while they train."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from genmods.callbacks.checkpoint import RunCheckpoint
from genmods.callbacks.ema import EMA
from genmods.callbacks.evaluation import Evaluation
from genmods.callbacks.feature_maps import FeatureMaps
from genmods.callbacks.loss_by_noise import LossByNoise
from genmods.callbacks.mistakes import Mistakes
from genmods.callbacks.sample_grid import SampleGrid, count_network_calls, sample_shared, sample_table
from genmods.callbacks.strips import DenoiseStrip, DiffusionStrip, InpaintStrip
from genmods.config.build import create
from genmods.core.errors import UserError
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.data.sources.digits import Digits
from genmods.diffusion import DDIMSampler
from genmods.diffusion.denoiser import DenoiserWrapper
from genmods.diffusion.prediction import VPrediction
from genmods.diffusion.processes.variance_preserving import CosineProcess
from genmods.metrics.frechet import FrechetDistance
from genmods.metrics.scores import BitsPerDimension
from genmods.models import VAE, Classifier, DiffusionModel
from genmods.networks.autoencoder import Autoencoder
from genmods.networks.base import Network
from genmods.runs.evaluate import LastResult
from genmods.tasks.classification import ClassificationTask
from genmods.tasks.diffusion import DiffusionTask
from genmods.tasks.vae import VAETask
from genmods.tracking.base import Logbook
from genmods.tracking.csv import MetricsFile
from genmods.tracking.names import TABLES
from genmods.tracking.series import read_series
from genmods.visual.picture import to_picture


class TinyDenoiser(Network):
    """Two convolutions that ignore the noise level."""

    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x, log_snr=None, cond=None):
        return self.second(self.first(x).relu())


class TinyClassifier(Network):
    """One convolution, the mean of its maps, a linear head."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(1, 6, 3), torch.nn.Linear(6, 10)

    def features(self, x):
        return self.conv(x).relu().mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))


def diffusion():
    torch.manual_seed(0)
    parts = TinyDenoiser(), CosineProcess(), VPrediction(), DDIMSampler(steps=4)
    return DiffusionTask(DiffusionModel(*parts, image_size=8, num_classes=10, levels=17))


def classification():
    torch.manual_seed(0)
    return ClassificationTask(Classifier(TinyClassifier(), image_size=8))


def fit(folder, task, callbacks, steps=4, **settings):
    logger = MetricsFile()
    logger.begin(folder, {})
    trainer = Trainer(
        default_root_dir=folder,
        logger=logger,
        callbacks=callbacks,
        max_steps=steps,
        val_check_interval=2,
        log_every_n_steps=1,
        num_sanity_val_steps=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        inference_mode=False,
        **{"enable_checkpointing": False} | settings,
    )
    trainer.fit(task, ImageData(Digits(), batch_size=64, limit=128))
    return trainer


def names(folder):
    return sorted(path.name for path in (folder / "samples").iterdir())


def test_grids_of_ema_and_raw_weights_at_each_validation(tmp_path):
    fit(tmp_path, diffusion(), [EMA((0.5,)), SampleGrid(n=9)])
    assert names(tmp_path) == ["raw_000002.png", "raw_000004.png", "step_000002.png", "step_000004.png"]
    pictures = [Image.open(path).tobytes() for path in sorted((tmp_path / "samples").iterdir())]
    assert len(set(pictures)) == 4


def test_drawing_changes_nothing_in_the_training(tmp_path):
    plain, drawn = diffusion(), diffusion()
    fit(tmp_path / "a", plain, [])
    fit(
        tmp_path / "b", drawn, [SampleGrid(n=4), DiffusionStrip(), DenoiseStrip(), InpaintStrip(steps=2), FeatureMaps()]
    )
    for p, q in zip(plain.parameters(), drawn.parameters(), strict=True):
        assert torch.equal(p, q)
    series = {name.split("_")[0] for name in names(tmp_path / "b")}
    assert series == {"step", "strip", "denoise", "inpaint", "features"}


def test_the_first_grid_shows_the_samples_of_the_task(tmp_path):
    task = diffusion()
    fit(tmp_path, task, [SampleGrid(n=4, seed=3)])
    expected = to_picture(task.model.sample(4, seed=3), 2)
    assert Image.open(tmp_path / "samples" / "step_000004.png").tobytes() == expected.tobytes()


def test_ranks_share_the_samples_of_any_task_that_makes_them():
    task, parts = VAETask(VAE(Autoencoder(image_size=8, width=4, multipliers=(1, 2)), image_size=8)).eval(), []
    task.all_gather = lambda part: parts.append(part) or part[None]
    for rank in range(2):
        sample_shared(SimpleNamespace(world_size=2, global_rank=rank), task, 5, seed=3)
    assert [len(part) for part in parts] == [3, 3]
    torch.testing.assert_close(torch.cat(parts)[:5], task.model.sample(5, seed=3), atol=1e-5, rtol=0)


def test_loss_by_noise_is_the_mean_of_each_bin(tmp_path):
    callback, task = LossByNoise(bins=4, low=-4, high=4), diffusion()
    fit(tmp_path, task, [callback])
    content = json.loads((tmp_path / "loss_by_noise.json").read_text())
    assert content["log_snr_edges"] == [4, 2, 0, -2, -4]
    assert [row["step"] for row in content["history"]] == [2, 4]
    series = read_series(tmp_path / "metrics.csv")
    assert series["noise/loss_0"][-1][1] == pytest.approx(content["history"][-1]["loss"][0], rel=1e-6)

    outputs = {"log_snr": torch.tensor([100.0, 3.0, -1.0, -9.0]), "error": torch.tensor([1.0, 3.0, 5.0, 7.0])}
    callback.on_train_batch_end(None, task, outputs)
    assert callback._sums.tolist() == [[4, 0, 5, 7], [2, 0, 1, 1]]


def test_confusion_and_worst_images_of_a_classifier(tmp_path):
    last = LastResult()
    fit(tmp_path, classification(), [Mistakes(shown=5), FeatureMaps(layers=1, channels=6), last])
    content = json.loads((tmp_path / "confusion.json").read_text())
    assert content["counts"] == last.result.counts.tolist() and content["step"] == 4
    assert names(tmp_path) == ["features_000002.png", "features_000004.png", "worst_000002.png", "worst_000004.png"]


def test_the_worst_images_are_those_of_the_answers_that_count(tmp_path, monkeypatch):
    """The figures average over all views of an image; here many a single view is answered otherwise."""
    torch.manual_seed(0)
    task, tables = ClassificationTask(Classifier(TinyClassifier(), augment_test="flip_shift", image_size=8)), {}
    monkeypatch.setattr(Logbook, "rows", lambda self, key, columns, rows: tables.update({key: rows}))
    last = LastResult()
    data = fit(tmp_path, task, [Mistakes(shown=100), last]).datamodule
    scores, labels, index = last.result.scores, last.result.labels, last.result.index
    losses = torch.nn.functional.nll_loss(scores, labels, reduction="none")
    order = losses.argsort(descending=True)[:100].tolist()
    for (image, file, true, said, loss), i in zip(tables["val/worst"], order, strict=True):
        assert file == str(int(index[i]))
        assert (true, said) == (str(int(labels[i])), str(int(scores[i].argmax())))
        assert loss == pytest.approx(float(losses[i]))
        shown = to_float(data.splits["val"].pixels[index[i]], data.source.levels)
        assert image.tobytes() == to_picture(shown[None], 1).tobytes()


def test_metrics_of_samples_stand_beside_the_validation(tmp_path):
    fit(tmp_path, diffusion(), [Evaluation([FrechetDistance(bootstrap=0)], n=50, features=classification(), levels=17)])
    series = read_series(tmp_path / "metrics.csv")
    assert [step for step, _ in series["val/fid_50"]] == [step for step, _ in series["val/loss"]] == [1, 3]


def test_the_likelihood_is_that_of_the_averaged_weights(tmp_path):
    task, ema = diffusion(), EMA((0.5,))
    trainer = fit(tmp_path, task, [ema, Evaluation([BitsPerDimension(images=8)], n=2, levels=17)])
    found = read_series(tmp_path / "metrics.csv")["val/bpd"][-1][1]
    images = to_float(trainer.datamodule.splits["val"].pixels[:8], 17)
    with torch.no_grad():
        raw = task.model.likelihood().bound(images).mean().item()
        with ema.weights(task, averaged=True):
            averaged = task.model.likelihood().bound(images).mean().item()
    assert found == pytest.approx(averaged, rel=1e-5) and found != pytest.approx(raw, rel=1e-5)


def test_a_checkpoint_callback_may_monitor_a_metric_of_samples(tmp_path):
    evaluation = Evaluation([FrechetDistance(bootstrap=0)], n=20, features=classification(), levels=17)
    ours, lightnings = RunCheckpoint(monitor="val/fid_20"), ModelCheckpoint(tmp_path / "theirs", monitor="val/fid_20")
    fit(tmp_path, diffusion(), [evaluation, ours, lightnings], enable_checkpointing=True)
    best = min(value for _, value in read_series(tmp_path / "metrics.csv")["val/fid_20"])
    assert ours.best.value == pytest.approx(best, rel=1e-5) and ours.best_path.is_file()
    assert float(lightnings.best_model_score) == pytest.approx(best, rel=1e-5)


def test_one_step_denoising_asks_at_the_noise_level_within_the_range_of_the_model():
    model, strip, asked = diffusion().model.eval(), DenoiseStrip(sigmas=(0.01, 50.0)), []
    strip.batch = {"image": torch.rand(3, 1, 8, 8) * 2 - 1, "label": torch.tensor([0, 4, 9])}
    denoise, told = model.denoise, []

    class Watched(DenoiserWrapper):
        def __call__(self, x, t):
            asked.append(self.process.log_snr(t))
            return self.denoiser(x, t)

    def watched(cond):
        told.append(cond)
        return Watched(denoise(cond))

    model.denoise = watched
    with torch.no_grad():
        assert len(strip.columns(model, strip.batch["image"])) == 5
    highest, level = model.process.log_snr_range[1], -2 * math.log(2 * 50 / 255)
    torch.testing.assert_close(torch.stack(asked), torch.tensor([[highest] * 3, [level] * 3]).double())
    assert [list(cond) for cond in told] == [["label"]] and torch.equal(told[0]["label"], strip.batch["label"])


@pytest.mark.parametrize("sampler", ["ddim", "heun", "dpmpp_2m", "ddpm"])
def test_function_evaluations_are_counted(sampler):
    model = diffusion().model
    model.sampler = create("sampler", sampler, steps=5)
    assert count_network_calls(model) == (8 if sampler == "heun" else 5)  # one call in the first and in the last step


def test_a_table_of_samples_lists_how_they_were_generated():
    model = diffusion().model
    key, columns, rows = sample_table(model, model.sample(3), step=7, seed=2)
    assert key in TABLES and columns == ["step", "seed", "number", "condition", "sampler", "NFE", "image"]
    assert [row[:-1] for row in rows] == [[7, 2, i, str(i), "DDIMSampler", 4] for i in range(3)]


@pytest.mark.parametrize("callback", [SampleGrid(), DiffusionStrip(), LossByNoise()])
def test_a_classifier_is_refused_in_one_line(tmp_path, callback):
    with pytest.raises(UserError, match="ClassificationTask"):
        fit(tmp_path, classification(), [callback])


def test_bad_settings_are_refused():
    for build in (
        lambda: SampleGrid(n=0),
        lambda: SampleGrid(every=0),
        lambda: LossByNoise(low=1, high=0),
        lambda: Mistakes(shown=0),
        lambda: FeatureMaps(layers=0),
        lambda: DiffusionStrip(images=0),
        lambda: DiffusionStrip(stages=0),
        lambda: DenoiseStrip(sigmas=()),
        lambda: DenoiseStrip(sigmas=(25.0, 0.0)),
        lambda: InpaintStrip(copies=0),
        lambda: InpaintStrip(steps=0),
        lambda: Evaluation([], n=1),
    ):
        with pytest.raises(ValueError):
            build()
