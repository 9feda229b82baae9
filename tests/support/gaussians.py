"""The law of a method's result on Gaussian data: how it depends on its noise and on the measurement."""

import torch

from genmods.restoration.gaussian import Gaussian
from genmods.restoration.methods import Measurement


def ar1(size: int, rho: float, std: float = 1.0) -> Gaussian:
    """A row of `size` pixels [1, 1, size] with correlation `rho` between neighbours."""
    distance = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    return Gaussian(torch.zeros(1, 1, size, dtype=torch.float64), std**2 * rho ** distance.double())


class Draws:
    """Noise by a function of the step, that of the start being step -1."""

    def __init__(self, draw):
        self.draw = draw

    def initial(self):
        return self.draw(-1)

    def __call__(self, step):
        return self.draw(step)


def law(method, gaussian, process, operator, sigma_y=0.0):
    """(slope, cov): x ~ N(slope y, cov), both on flattened images, for a method that is affine in x, y and its noise.

    One run over a batch of unit vectors: of the start, of the noise of each step, and of y.
    """
    shape, like = gaussian.mean.shape, operator(gaussian.mean[None])
    denoise, size, drawn = gaussian.denoise(process), gaussian.mean.numel(), []

    def count(step):
        drawn.append(step)
        return torch.zeros(1, *shape, dtype=torch.float64)

    method.sample(denoise, Measurement(operator, like, sigma_y), Draws(count))
    moments = {step: place for place, step in enumerate(dict.fromkeys(drawn))}
    units = torch.eye(size * len(moments) + like.numel(), dtype=torch.float64)
    measured = units[:, size * len(moments) :].reshape(-1, *like.shape[1:])

    def noise(step):
        return units[:, size * moments[step] : size * (moments[step] + 1)].reshape(-1, *shape)

    x = method.sample(denoise, Measurement(operator, measured, sigma_y), Draws(noise))
    on_noise, on_y = x.flatten(1).T.split([size * len(moments), like.numel()], dim=1)
    return on_y, on_noise @ on_noise.T


def divergence(gaussian, slope, cov, operator, sigma_y):
    """KL per pixel between a method's law and the exact posterior, averaged over noisy measurements y."""
    a, gain = gaussian.matrix(operator), gaussian.gain(operator, sigma_y)
    exact = gaussian.cov - gain @ a @ gaussian.cov
    error = slope - gain
    spread = error @ (a @ gaussian.cov @ a.T + sigma_y**2 * torch.eye(len(a))) @ error.T
    ratio = torch.linalg.solve(exact, cov)
    return 0.5 * (ratio.trace() - ratio.logdet() - len(exact) + torch.linalg.solve(exact, spread).trace()) / len(exact)
