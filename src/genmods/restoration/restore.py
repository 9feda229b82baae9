"""Restoration of images from linear measurements with any diffusion model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genmods.config import registry
from genmods.core import random
from genmods.core.errors import UserError
from genmods.core.image_range import check_finite
from genmods.core.progress import Progress, part_of
from genmods.diffusion.noise import noise_stream
from genmods.restoration.methods import Guidance, Measurement, Method
from genmods.restoration.noise import rounding
from genmods.restoration.operators import Downsample, Identity, Mask, Operator
from genmods.restoration.prior import Prior


def choose(operator: Operator, sigma_y: float) -> str:
    """The name of the method that `auto` selects.

    On Fashion-MNIST, with 20 calls, MMPS had the best PSNR and FID for holes, noise and 4x4 averages, at three to four
    times the cost of methods without gradients (`benchmarks/restoration.py --only methods`). Blurs are ill-conditioned
    for it; DDNM+ weights each frequency by its noise.
    """
    if operator.ill_conditioned:
        return "ddnm_plus"
    return "mmps" if sigma_y > 0 or isinstance(operator, (Mask, Downsample)) else "ddnm"


def named_method(name: str, operator: Operator, sigma_y: float, steps: int) -> Method:
    """The registered method `name`, or the one that `auto` selects. Raises UserError for an unknown name."""
    entry = registry.find("method", choose(operator, sigma_y) if name == "auto" else name)
    method: Method = registry.resolve(entry)(steps=steps)
    return method


def check_settings(
    operator: Operator,
    sigma: float = 0.0,
    method: Method | None = None,
    steps: int | None = None,
    model: Any = None,
) -> None:
    """Raises ValueError if an evaluation of restoration has settings that contradict each other, or another `model`
    than one that restores images; `sigma` is the noise level."""
    if model is not None:
        Prior.of(model)
    if method is not None and steps is not None:
        raise ValueError(f"steps must not be set if a method is given, got {steps}")
    if isinstance(operator, Identity) and sigma == 0:
        raise ValueError("sigma must be above 0 with the identity operator, got 0")


def check_images(y: Tensor, sigma: float = 0.0) -> None:
    """Raises UserError unless `y` is a finite float batch [B, C, H, W] and the noise level is finite and at least 0."""
    if y.ndim != 4 or not y.is_floating_point() or not len(y):
        raise UserError(f"images must be a float batch [B, C, H, W], got {y.dtype} of shape {list(y.shape)}")
    check_finite(y)
    if not 0 <= sigma < float("inf"):
        raise UserError(f"the noise level must be at least 0, got {sigma}")


def check_range(y: Tensor, operator: Operator, sigma: float) -> None:
    """Raises UserError if images in [-1, 1] cannot have the measurements `y` [B, ...], e.g. for images in [0, 255].

    Measurement i is at most Σ_j |A_ij| for such images, where the row is Aᵀ e_i; twice that plus 8 `sigma` is accepted.
    """
    largest = max(y.argmin(), y.argmax(), key=lambda place: y.flatten()[place].abs())
    row = operator.adjoint(torch.zeros_like(y).flatten().index_fill_(0, largest, 1).view_as(y))
    if y.flatten()[largest].abs() > 2 * row.abs().sum() + 8 * sigma:
        raise UserError(f"images must lie on [-1, 1], got the value {y.flatten()[largest].item():.4g}")


def _check(
    y: Tensor, operator: Operator, prior: Prior, sigma_y: float, label: Tensor | None, numbers: Tensor | None
) -> None:
    """Raises UserError unless measurement, operator, model, labels and numbers are compatible."""
    check_images(y, sigma_y)
    shape = operator(operator.adjoint(y)).shape
    if shape != y.shape:
        raise UserError(f"measurements of this operator must have shape {list(shape[1:])}, got {list(y.shape[1:])}")
    check_range(y, operator, sigma_y)
    for name, one_each in (("label", label), ("numbers", numbers)):
        if one_each is not None and one_each.shape != y.shape[:1]:
            raise UserError(f"{name} must have shape [{len(y)}], one per image, got {list(one_each.shape)}")
    if prior.sees_masks and not isinstance(operator, Mask):
        raise UserError(
            "a mask-conditional model requires a mask as the operator; use an unconditional model for others"
        )
    if prior.degraded and prior.operator != operator:
        raise UserError(
            f"the model was trained for the operator {prior.operator}, got {operator}; use an unconditional model for "
            "others"
        )


@torch.inference_mode(False)
@torch.no_grad()
def restore(
    y: Tensor,
    operator: Operator,
    model: Any,
    method: str | Method = "auto",
    sigma_y: float = 0.0,
    samples: int = 1,
    steps: int = 20,
    seed: int = 0,
    label: Tensor | None = None,
    numbers: Tensor | None = None,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Draws posterior samples of images measured as y = A x + σ_y n.

    Args:
        y: Measurements [B, ...] of images in [-1, 1], float; for a mask, images with any values in the unknown pixels.
        operator: The operator A.
        model: A trained diffusion model, or any `Denoise`.
        method: A method, or the name of a registered one; "auto" selects one (see `choose`).
        sigma_y: Standard deviation of the white noise of `y`, on the scale of [-1, 1]; at least that of rounding to
            grey levels if `operator` is ill-conditioned.
        samples: Draws per image.
        steps: Network calls per draw, for a method given by name.
        seed: Sample k of image i depends on `seed`, k and the number of the image only.
        label: Classes int64 [B] for a class-conditional model, -1 for none.
        numbers: The numbers of the images, int64 [B]; by default 0 to B - 1.
        batch_size: The largest number of draws per network call.
        progress: Called as `progress(done, total)` after each step.

    Returns:
        Images [samples, B, C, H, W] in [-1, 1], in the dtype of the model's weights (to which `y` is converted), or of
        `y` for a denoiser. With a mask and without noise the known pixels are exactly those of `y`.

    Raises:
        UserError: If the arguments are out of range or incompatible.
    """
    if y.is_inference():  # tensors of inference mode do not support gradients
        y, label = y.clone(), None if label is None else label.clone()
    if samples < 1 or batch_size < 1:
        raise UserError(f"samples and batch_size must be at least 1, got {samples} and {batch_size}")
    prior, y = Prior.of(model), operator.clean(y)
    numbers = None if numbers is None else numbers.cpu()
    _check(y, operator, prior, sigma_y, label, numbers)
    sigma_y = max(sigma_y, rounding(y)) if operator.ill_conditioned else sigma_y
    y = prior.typed(y)
    if isinstance(method, str):
        if prior.conditioning.reveals_image and method == "auto":
            method = _unguided(prior, steps)
        else:
            method = named_method(method, operator, sigma_y, steps)
    results = []
    chunks = draw_batches(len(y), samples, batch_size)
    for place, (rows, copies) in enumerate(chunks):
        measurement = Measurement(operator.rows(rows), y[rows.to(y.device)], sigma_y)
        keys = random.fold(rows if numbers is None else numbers[rows], copies)
        of_rows = None if label is None else label[rows.to(label.device)]
        results.append(_batch(prior, method, measurement, of_rows, seed, keys, part_of(progress, place, len(chunks))))
    restored = torch.cat(results).clamp(-1, 1)
    restored = restored.view(samples, len(y), *restored.shape[1:])
    return operator.restore_known(restored, y) if sigma_y == 0 else restored


def _unguided(prior: Prior, steps: int) -> Method:
    """The sampling of a model that sees the measurement: by its own sampler if it was trained for the degradation."""
    if prior.degraded and prior.sampler is not None:
        return Guidance(sampler=replace(prior.sampler, steps=steps))
    return Guidance(steps=steps)


def _batch(
    prior: Prior,
    method: Method,
    measurement: Measurement,
    label: Tensor | None,
    seed: int,
    keys: Tensor,
    progress: Progress | None,
) -> Tensor:
    """One draw [B, C, H, W] per row of a measurement, from `seed` and the key of the row."""
    like = measurement.operator.adjoint(measurement.y)
    noise = noise_stream(seed, keys, tuple(like.shape[1:]), like.device, like.dtype)
    denoiser = prior.denoise(like, label, _seen(prior, measurement, like))
    return method.sample(denoiser, measurement, noise, progress)


def draw_batches(images: int, samples: int, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """The batches of all draws, image by image within each draw: image numbers and draw numbers, int64 [B] each."""
    rows, copies = torch.arange(images).repeat(samples), torch.arange(samples).repeat_interleave(images)
    return list(zip(rows.split(batch_size), copies.split(batch_size), strict=True))


def _seen(prior: Prior, measurement: Measurement, like: Tensor) -> Tensor | None:
    """What the model sees of the measurement of images of the shape of `like`: a mask (1 for known) and the masked
    image, or the degraded image, [B, 1 + C, H, W]; None if it is not conditioned on an image."""
    if prior.degraded:
        return prior.degraded.seen(measurement.y)
    if prior.sees_masks:
        return torch.cat([measurement.operator(torch.ones_like(like))[:, :1], measurement.y], dim=1)
    return None
