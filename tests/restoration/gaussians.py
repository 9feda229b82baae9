"""The law of a method's result on Gaussian data, by carrying mean and covariance through its steps."""

import torch

from genmods.diffusion.samplers.base import Run
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.methods import Measurement


def ar1(size: int, rho: float, std: float = 1.0) -> Gaussian:
    """A row of `size` pixels [1, 1, size] with correlation `rho` between neighbours."""
    distance = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    return Gaussian(torch.zeros(1, 1, size, dtype=torch.float64), std**2 * rho ** distance.double())


def law(method, gaussian, process, operator, sigma_y=0.0):
    """(slope, cov): x ~ N(slope y, cov), both on flattened images, for a method whose step is affine in x, y and noise.

    Each step is probed with unit vectors of x, of its noise and of y: rows of one batch.
    """
    shape = gaussian.mean.shape
    size = gaussian.mean.numel()
    seen = operator(gaussian.mean[None]).numel()
    units = torch.eye(2 * size + seen, dtype=torch.float64)
    x, z, y = units[:, :size], units[:, size : 2 * size], units[:, 2 * size :]
    x, z = x.reshape(-1, *shape), z.reshape(-1, *shape)
    measurement = Measurement(operator, y.reshape(-1, *operator(gaussian.mean[None]).shape[1:]), sigma_y)
    guided = method.guide(gaussian.denoise(process), process, measurement)
    run = Run(guided, process, method.times(process), lambda i: z)
    slope = torch.zeros(size, seen, dtype=torch.float64)
    cov = process.prior_std**2 * torch.eye(size, dtype=torch.float64)
    with torch.no_grad():
        for i in range(len(run.times) - 1):
            columns = method.step(run, measurement, x, i).flatten(1).T
            on_x, on_z, on_y = columns.split([size, size, seen], dim=1)
            slope = on_x @ slope + on_y
            cov = on_x @ cov @ on_x.T + on_z @ on_z.T
    return slope, cov


def divergence(gaussian, slope, cov, operator, sigma_y):
    """KL per pixel between a method's law and the exact posterior, averaged over noisy measurements y."""
    a, gain = gaussian.matrix(operator), gaussian.gain(operator, sigma_y)
    exact = gaussian.cov - gain @ a @ gaussian.cov
    error = slope - gain
    spread = error @ (a @ gaussian.cov @ a.T + sigma_y**2 * torch.eye(len(a))) @ error.T
    ratio = torch.linalg.solve(exact, cov)
    return 0.5 * (ratio.trace() - ratio.logdet() - len(exact) + torch.linalg.solve(exact, spread).trace()) / len(exact)
