"""The restoration commands on files, with a Gaussian in the place of a trained network."""

import torch

from genmods.cli import dispatch
from genmods.data.files import Picture
from genmods.diffusion import CosineProcess
from genmods.diffusion.conditioning import ClassLabels
from genmods.diffusion.latents import LatentSpace
from genmods.restoration.gaussian import Gaussian


class Model:
    """What a trained diffusion task has, over smooth Gaussian images of `channels` x 8 x 8."""

    device, dtype = torch.device("cpu"), None

    def __init__(self, channels=1):
        place = torch.arange(8, dtype=torch.float64)
        near = torch.exp(-((place[:, None] - place) ** 2) / 8)
        cov = 0.2 * torch.kron(torch.eye(channels, dtype=torch.float64), torch.kron(near, near))
        self.gaussian = Gaussian(torch.zeros(channels, 8, 8, dtype=torch.float64), cov + 1e-3 * torch.eye(len(cov)))
        self.image_shape, self.process = (channels, 8, 8), CosineProcess()
        self.conditioning, self.latents = ClassLabels(num_classes=2, class_names=["coat", "shoe"]), LatentSpace()

    def diffusion_model(self):
        return self

    def denoise(self, cond):
        return self.gaussian.denoise(self.process)

    def to(self, device):
        return self

    requires_grad_ = to


def picture(channels, height, width, bits=8, alpha=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wave = torch.linspace(0, 3, width).cos() * torch.linspace(0, 2, height).cos()[:, None]
    white = 2**bits - 1
    image = (wave * 0.7 + 0.05 * torch.rand(channels, height, width, generator=generator)).clamp(-1, 1)
    image = ((image + 1) / 2 * white).round() / white * 2 - 1
    return Picture(image, torch.ones(1, height, width) if alpha else None, bits)


def call(command, source, out, *options):
    return dispatch([command, "--ckpt_path", "c", "--input", str(source), "--out", str(out), "--quiet", *options])
