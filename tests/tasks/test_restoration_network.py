"""Training networks to restore: the noise of each epoch, losses without clean images, and what they lead to."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from genmods.core.batch import EPOCH, INDEX, INPUT
from genmods.networks.base import Network
from genmods.restoration.corruption import GaussianNoise, Jpeg, PoissonNoise, SaltAndPepper, SensorNoise
from genmods.restoration.losses import SURE, Noise2Noise, Noise2Void, Recorrupted, Supervised
from genmods.restoration.mixtures import Chain, RandomChoice, UniformRange
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.operators import Average, GaussianBlur, Grayscale
from genmods.tasks.restoration_network import RestorationNetworkTask

S, SIGMA = 0.5, 51.0  # 51 of 255 is 0.4 on [-1, 1]


class Gain(Network):
    """Adds a learned multiple of the image."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(-0.1))

    def forward(self, x, log_snr, cond=None):
        return self.gain * x


def task_of(loss, corruption=None, sigma=None):
    model = RestorationNetwork(Gain(), corruption=corruption, in_channels=1, image_size=16)
    return RestorationNetworkTask(model, loss, sigma)


def batch(images, epoch=0):
    n = len(images)
    return {INPUT: images, INDEX: torch.arange(n), EPOCH: torch.full((n,), epoch)}


@pytest.fixture(scope="module")
def clean():
    return S * torch.randn(500, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def learned(task, images, steps=25):
    optimizer = torch.optim.SGD(task.parameters(), lr=1.0)
    task.log_mean = lambda *_, **__: None
    for epoch in range(steps):
        optimizer.zero_grad()
        task.training_step(batch(images, epoch), 0).backward()
        optimizer.step()
    return 1 + task.model.network.gain.item()


@pytest.mark.parametrize("loss", [Supervised("l2"), Noise2Noise(), SURE()])
def test_each_loss_leads_to_the_wiener_gain(loss, clean):
    assert abs(learned(task_of(loss, GaussianNoise(SIGMA)), clean) - S**2 / (S**2 + 0.16)) < 0.02


@pytest.mark.parametrize(("loss", "variance"), [(SURE(), 0.16), (Recorrupted(0.5), 1.25 * 0.16)])
@pytest.mark.parametrize("sigma", [SIGMA, None])
def test_noisy_images_alone_are_enough(loss, variance, sigma, clean):
    noisy = clean * 0.02 + 0.4 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
    flat = (0.02 * S) ** 2
    assert abs(learned(task_of(loss, sigma=sigma), noisy) - flat / (flat + variance)) < 0.02


def test_the_noise_of_a_training_image_is_estimated_once_and_that_of_validation_images_anew():
    task, generator = task_of(SURE()), torch.Generator().manual_seed(0)
    weak, strong = (std * torch.randn(4, 1, 16, 16, generator=generator) for std in (0.1, 0.4))
    first = task.example(batch(weak), 0).std
    assert torch.equal(task.example(batch(weak.flip(3)), 1).std, first) and abs(first.mean() - 0.1) < 0.02
    task.eval()
    assert abs(task.example(batch(strong), -1).std.mean() - 0.4) < 0.08
    task.train()
    assert torch.equal(task.example(batch(weak), 2).std, first)


def test_the_noise_of_large_images_is_estimated_from_their_centre():
    images = 0.1 * torch.randn(2, 1, 160, 160, generator=torch.Generator().manual_seed(0))
    images[..., :40] *= 8
    assert abs(task_of(SURE()).example(batch(images), 0).std.mean() - 0.1) < 0.02


class Records(Network):
    """Keeps the standard deviations that it receives."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, log_snr, cond=None):
        self.seen.append((-log_snr / 2).exp() if not cond else cond["image"].mean((1, 2, 3)))
        return torch.zeros_like(x)


@pytest.mark.parametrize("level", ["known", "map"])
@pytest.mark.parametrize(("loss", "level_of_input"), [(Recorrupted(0.5), 1.25**0.5 * 0.4), (SURE(), 0.4)])
def test_the_network_receives_the_noise_level_of_its_input(level, loss, level_of_input, clean):
    model = RestorationNetwork(Records(), corruption=GaussianNoise(SIGMA), level=level, in_channels=1, image_size=16)
    task = RestorationNetworkTask(model, loss)
    model.network.seen.clear()
    task.log_mean = lambda *_, **__: None
    task.training_step(batch(clean[:4]), 0)
    torch.testing.assert_close(torch.cat(model.network.seen).unique(), torch.tensor([level_of_input]))


def test_the_noise_is_new_in_each_epoch_and_the_same_in_each_validation(clean):
    task = task_of(Supervised(), GaussianNoise(SIGMA))
    first, second = (task.example(batch(clean[:4], epoch), torch.full((4,), epoch)).measured for epoch in (0, 1))
    assert not torch.equal(first, second)
    again = task.example(batch(clean[:4]), -1).measured
    assert torch.equal(again, task.example(batch(clean[:4], 7), -1).measured)
    alone = task.example({key: value[2:3] for key, value in batch(clean[:4]).items()}, -1).measured
    assert torch.equal(alone, again[2:3])


@pytest.mark.parametrize("loss", [Supervised(), Noise2Noise()])
def test_losses_that_need_more_than_noisy_images_are_refused(loss):
    with pytest.raises(ValueError, match="requires clean images: set a corruption"):
        task_of(loss)


NOISY = [Noise2Noise(), SURE(), Recorrupted(), Noise2Void()]


@pytest.mark.parametrize("loss", NOISY)
def test_losses_without_clean_images_only_denoise(loss):
    model = RestorationNetwork(Gain(), GaussianBlur(1.0), GaussianNoise(), in_channels=1, image_size=16)
    with pytest.raises(ValueError, match="only denoises: the operator must be Identity, got GaussianBlur"):
        RestorationNetworkTask(model, loss)
    RestorationNetworkTask(model, Supervised())


@pytest.mark.parametrize("loss", NOISY)
@pytest.mark.parametrize(
    ("corruption", "fits"),
    [
        (Jpeg(10), ()),
        (RandomChoice([GaussianNoise(5), Jpeg(10)]), ()),
        (Chain([GaussianNoise(5), Jpeg(10)]), (Noise2Noise, Noise2Void)),
        (SensorNoise(blur=1.0), (Noise2Noise, Noise2Void)),
        (UniformRange(SensorNoise(), SensorNoise([9.0], blur=1.0)), (Noise2Noise, Noise2Void)),
        (SaltAndPepper(0.1), (Noise2Noise, Noise2Void)),
        (UniformRange(GaussianNoise(0), GaussianNoise(55)), (Noise2Noise, SURE, Recorrupted, Noise2Void)),
        (Chain([PoissonNoise(30), GaussianNoise(3)]), (Noise2Noise, SURE, Recorrupted, Noise2Void)),
    ],
)
def test_the_noise_fits_the_loss(loss, corruption, fits):
    """Of a second compression nothing can be learned: it is the same image."""
    if isinstance(loss, fits):
        task_of(loss, corruption)
        return
    with pytest.raises(ValueError, match=r"requires a corruption with (random|independent Gaussian) noise, got "):
        task_of(loss, corruption)


@pytest.mark.parametrize(
    ("degradation", "channels", "line"),
    [
        ({"operator": Average(3)}, 1, "sides of an image must be multiples of 3"),
        ({"operator": Grayscale()}, 1, "grayscale requires images of 3 channels, got 1"),
        ({"corruption": SensorNoise([1.0, 2.0])}, 3, "read must have 1 value or one per channel, 3, got 2"),
        ({"corruption": Jpeg()}, 2, "JPEG requires images of 1 or 3 channels, got 2"),
    ],
)
def test_a_degradation_of_other_images_is_refused_by_the_model(degradation, channels, line):
    with pytest.raises(ValueError, match=line):
        RestorationNetwork(Gain(), **degradation, in_channels=channels, image_size=16)


class Maps(Network):
    """Keeps the last map of the noise that it receives."""

    def forward(self, x, log_snr, cond=None):
        self.map = cond["image"]
        return torch.zeros_like(x)


@pytest.mark.parametrize("operator", [Average(2), Grayscale()])
def test_the_map_of_noise_has_the_size_of_the_image(operator):
    network, keys = Maps(), torch.arange(2)
    model = RestorationNetwork(network, operator, SensorNoise(gain=0.5), "map", in_channels=3, image_size=16)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    std = model.noise_std(images, keys)
    assert std.std() > 0 and model(model.degrade(images, keys), std).shape == images.shape
    assert network.map.shape == images.shape
    torch.testing.assert_close(operator(network.map), std)


def test_the_monitor_is_psnr_where_the_truth_is_known():
    assert task_of(Supervised(), GaussianNoise()).monitor.name == "val/psnr"
    assert task_of(Noise2Void()).monitor.name == "val/loss"


class Sees(Gain):
    """Keeps the sizes that it receives."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, x, log_snr, cond=None):
        self.sizes.append(tuple(x.shape[2:]))
        return super().forward(x, log_snr, cond)


@pytest.mark.parametrize("loss", [Supervised(), Noise2Noise(), Noise2Void(), Recorrupted()])
def test_coarse_steps_come_first_and_the_last_ones_see_windows(loss, clean):
    model = RestorationNetwork(Sees(), corruption=GaussianNoise(SIGMA), in_channels=1, image_size=16)
    model.network.sizes.clear()
    task = RestorationNetworkTask(model, loss, coarse=0.75)
    batches = DataLoader([batch(clean[:8], epoch) for epoch in range(4)], batch_size=None)
    Trainer(barebones=True, accelerator="cpu", max_steps=4).fit(task, batches)
    assert model.network.sizes == [(4, 4), (8, 8), (8, 8), (8, 8)]


@pytest.mark.parametrize("loss", [Supervised("l2"), Noise2Noise(), SURE(), Noise2Void()])
def test_coarse_steps_lead_to_the_wiener_gain_of_images_without_a_scale(loss):
    """Constant images: at half the resolution they and the noise have the same variance."""
    flat = S * torch.randn(500, 1, 1, 1, generator=torch.Generator().manual_seed(0)).expand(500, 1, 16, 16)
    task = task_of(loss, GaussianNoise(SIGMA))
    task.coarse, task.coarse_steps = 0.9, 1
    assert abs(learned(task, flat) - S**2 / (S**2 + 0.16)) < 0.02


def test_windows_are_parts_of_the_image_that_differ_between_epochs(clean):
    task = RestorationNetworkTask(task_of(SURE(), GaussianNoise()).model, SURE(), coarse=0.5)
    first, second = (task._windows(batch(clean[:4], epoch))[INPUT] for epoch in (0, 1))
    assert first.shape == (4, 1, 8, 8) and not torch.equal(first, second)
    for image, window in zip(clean, first, strict=False):
        parts = image[0].unfold(0, 8, 1).unfold(1, 8, 1).flatten(0, 1)
        assert (parts == window[0]).flatten(1).all(1).any()


def test_coarse_requires_images_that_can_be_reduced():
    model = RestorationNetwork(Gain(), corruption=GaussianNoise(), in_channels=1, image_size=7)
    with pytest.raises(ValueError, match="coarse requires images of at least 8 pixels"):
        RestorationNetworkTask(model, coarse=0.5)


def test_coarse_only_denoises():
    model = RestorationNetwork(Gain(), Average(2), GaussianNoise(), in_channels=1, image_size=16)
    with pytest.raises(ValueError, match="coarse requires the operator Identity, got Average"):
        RestorationNetworkTask(model, coarse=0.5)
