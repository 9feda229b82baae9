"""What people use today, on the same images: classical filters, and other libraries' methods on the same network.

Every function takes and returns float32 batches [B, C, H, W] on [-1, 1]; noise levels are on that scale too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from genmods.restoration.operators import Operator
from genmods.restoration.prior import Prior


def _each(function: Callable[[np.ndarray], np.ndarray], images: Tensor) -> Tensor:
    """A function of grey images [H, W] on [0, 1], applied to each channel."""
    planes = ((images.flatten(0, 1) + 1) / 2).double().numpy()
    return torch.from_numpy(np.stack([function(plane) for plane in planes])).float().view(images.shape) * 2 - 1


def bm3d(y: Tensor, sigma: float) -> Tensor:
    from bm3d import bm3d as run

    return _each(lambda plane: run(plane, sigma / 2), y).clamp(-1, 1)


def total_variation(y: Tensor, sigma: float) -> Tensor:
    from skimage.restoration import denoise_tv_chambolle

    return _each(lambda plane: denoise_tv_chambolle(plane, weight=sigma / 2), y).clamp(-1, 1)


def non_local_means(y: Tensor, sigma: float) -> Tensor:
    from skimage.restoration import denoise_nl_means

    settings = {"patch_size": 5, "patch_distance": 9, "h": 0.8 * sigma / 2, "sigma": sigma / 2, "fast_mode": False}
    return _each(lambda plane: denoise_nl_means(plane, **settings), y).clamp(-1, 1)


def median(y: Tensor, sigma: float) -> Tensor:
    from scipy.ndimage import median_filter

    return _each(lambda plane: median_filter(plane, 3), y).clamp(-1, 1)


def anscombe(denoise: Callable[[Tensor, float], Tensor], y: Tensor, peak: float, read: float = 0.0) -> Tensor:
    """A Gaussian denoiser behind the generalised Anscombe transform, and the closed form of its exact unbiased inverse
    (Mäkitalo and Foi 2011, 2013). White is `peak` photons; the Gaussian read noise has a standard deviation of `read`
    photons."""
    floor = 0.375 + read**2
    stabilised = 2 * torch.sqrt(((y + 1) / 2 * peak + floor).clamp_min(0))
    low, high = 2 * floor**0.5, 2 * (peak + floor) ** 0.5
    scale = 2 / (high - low)
    z = ((denoise((stabilised - low) * scale - 1, scale) + 1) / scale + low).clamp_min(2 * 0.375**0.5)
    counts = z**2 / 4 + 1.5**0.5 / 4 / z - 11 / 8 / z**2 + 5 / 8 * 1.5**0.5 / z**3 - 1 / 8 - read**2
    return (counts / peak * 2 - 1).clamp(-1, 1)


def logarithmic(denoise: Callable[[Tensor, float], Tensor], y: Tensor, level: float, floor: float = 0.02) -> Tensor:
    """A Gaussian denoiser after a logarithm, for speckle."""
    z = torch.log(((y + 1) / 2).clamp_min(0) + floor)
    low, high = torch.log(torch.tensor(floor)), torch.log(torch.tensor(1 + floor))
    scale = 2 / (high - low)
    restored = (denoise((z - low) * scale - 1, float(level * scale)) + 1) / scale + low
    return ((torch.exp(restored) - floor) * 2 - 1).clamp(-1, 1)


def _fill(images: Tensor, known: Tensor, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Tensor:
    """`function(image on [0, 1], hole)` for each image [H, W], or [H, W, 3]; `known` bool [1 or B, 1, H, W]."""
    holes = (~known).expand(len(images), 1, -1, -1)[:, 0].numpy()
    arrays = ((images.movedim(1, -1) + 1) / 2).double().numpy()
    arrays = arrays[..., 0] if images.shape[1] == 1 else arrays
    filled = np.stack([function(array, hole) for array, hole in zip(arrays, holes, strict=True)])
    result = torch.from_numpy(filled).float().view(len(images), *images.shape[2:], -1).movedim(-1, 1)
    return (result * 2 - 1).clamp(-1, 1)


def opencv(images: Tensor, known: Tensor, flag: str) -> Tensor:
    import cv2

    def fill(array: np.ndarray, hole: np.ndarray) -> np.ndarray:
        pixels = (array * 255).round().astype(np.uint8)
        return cv2.inpaint(pixels, hole.astype(np.uint8), 3, getattr(cv2, flag)) / 255

    return _fill(images, known, fill)


def biharmonic(images: Tensor, known: Tensor) -> Tensor:
    from skimage.restoration import inpaint_biharmonic

    axis = -1 if images.shape[1] > 1 else None
    return _fill(images, known, lambda array, hole: inpaint_biharmonic(array, hole, channel_axis=axis))


def deepinv_dps(prior: Prior, operator: Operator, y: Tensor, sigma_y: float, calls: int, seed: int = 0) -> Tensor:
    """deepinv's DPS as documented, its defaults but the number of steps, on our denoiser (which takes [-1, 1])."""
    import deepinv

    process = prior.denoise(operator.adjoint(y)).process

    class Network(torch.nn.Module):
        def forward(self, x: Tensor, sigma: Tensor, *args: object, **settings: object) -> Tensor:
            level = torch.as_tensor(sigma, dtype=torch.float64).flatten().expand(len(x))
            low, high = process.log_snr_range
            t = process.time((-2 * level.log()).clamp(low, high))
            return prior.denoise(x)((process.alpha(t).view(-1, 1, 1, 1) * x).float(), t).x0.to(x.dtype)

    physics = deepinv.physics.LinearPhysics(
        A=operator.forward, A_adjoint=operator.adjoint, noise_model=deepinv.physics.GaussianNoise(sigma_y)
    )
    sampler = deepinv.sampling.DPS(
        Network(),
        num_steps=calls,
        minus_one_one=False,
        dtype=torch.float32,
        rng=torch.Generator().manual_seed(seed),
    )
    return sampler(y, physics, seed=seed).detach().float().clamp(-1, 1)


def azula(
    prior: Prior, operator: Operator, y: Tensor, sigma_y: float, calls: int, method: str, seed: int = 0
) -> Tensor:
    """azula's MMPS or DiffPIR with its defaults and its DDPM sampler, on our denoiser and process."""
    from azula.denoise import Denoiser, DiracPosterior
    from azula.guidance.diffpir import DiffPIRDenoiser
    from azula.guidance.mmps import MMPSDenoiser
    from azula.linalg.covariance import IsotropicCovariance
    from azula.noise import Schedule
    from azula.sample import DDPMSampler

    like = operator.adjoint(y)
    process = prior.denoise(like).process

    class Process(Schedule):
        def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
            times = t.double().clamp(process.t_min_trained, process.t_max)
            return process.alpha(times).float(), process.sigma(times).float()

    class Network(Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.schedule = Process()

        def forward(self, x_t: Tensor, t: Tensor, **settings: object) -> DiracPosterior:
            times = t.double().clamp(process.t_min_trained, process.t_max).expand(len(x_t))
            return DiracPosterior(mean=prior.denoise(x_t)(x_t, times).x0)

    variance = max(sigma_y, 1e-2) ** 2
    if method == "mmps":
        guided = MMPSDenoiser(Network(), y, operator.forward, IsotropicCovariance(torch.tensor(variance)))
    else:
        guided = DiffPIRDenoiser(Network(), y, operator.forward, variance)
    torch.manual_seed(seed)
    sampler = DDPMSampler(guided, start=process.t_max, stop=process.t_min_trained, steps=calls, silent=True)
    return sampler(sampler.init(like.shape)).clamp(-1, 1)
