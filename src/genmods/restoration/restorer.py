"""Denoising, inpainting and inversion of linear operators with a diffusion model or a restoration network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.errors import UserError
from genmods.core.image_range import check_finite
from genmods.core.progress import Progress, part_of
from genmods.diffusion.samplers.dpmpp import DPMpp2MSDESampler
from genmods.models import Restores
from genmods.restoration.channels import Rows, in_channels
from genmods.restoration.corrupted import corruption_level, denoise_corruption
from genmods.restoration.corruption import Corruption
from genmods.restoration.denoising import (
    denoise,
    denoise_samples,
    estimate_noise,
    removable_noise,
)
from genmods.restoration.holes import Box, grouped_boxes, known_pixels
from genmods.restoration.levels import Sigma, image_levels, is_auto, row_levels
from genmods.restoration.methods import Method
from genmods.restoration.noise_curve import NoiseCurve, noise_curve
from genmods.restoration.operators import Mask, Operator, ShapedMask
from genmods.restoration.prior import Prior
from genmods.restoration.restore import restore

CORRUPTION_SAMPLES = 8
"""The least number of samples whose mean is the estimate of a denoised image."""


@dataclass
class Restorer:
    """Restores images with a diffusion model or a restoration network.

    Every method takes images [B, C, H, W] in [-1, 1] and returns restored images [B, C, H, W], or posterior samples
    [K, B, C, H, W] with `samples=K`, on the device of the images. `label` is a class for all images, or a list of one
    per image, by number or name. `numbers` (int64 [B]; by default 0 to B - 1) are the numbers of the images: sample k
    of an image depends on the seed, k and its number only. `progress` is called as `progress(done, total)` after each
    step.

    Args:
        model: A diffusion model, such as the result of `genmods.load`, or any `Denoise`.
        method: A method, or the name of a registered one; "auto" selects one by operator and noise level.
        steps: Network calls per sample.
        seed: The seed of the samples.
        batch_size: The largest number of images per network call.

    Raises:
        UserError: If the model is not a diffusion model of pixels, or a setting is out of range.
    """

    model: Any
    method: str | Method = "auto"
    steps: int = 20
    seed: int = 0
    batch_size: int = 64
    prior: Prior = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        self.prior = Prior.of(self.model)

    def denoise(
        self,
        images: Tensor,
        sigma: Sigma | NoiseCurve = "auto",
        *,
        corruption: Corruption | None = None,
        samples: int | None = None,
        label: Any = None,
        numbers: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Removes noise from `images` [B, C, H, W].

        Args:
            images: Noisy images; clean ones are in [-1, 1].
            sigma: Level of the noise, or the result of `noise_level` or `estimate_noise`.
            corruption: Another kind of noise, instead of `sigma`.
            samples: Number of posterior samples per image, which assume one level of noise per image; None returns the
                MMSE estimate.
            label, numbers, progress: See `Restorer`.

        Raises:
            UserError: If `sigma` and `corruption` are both given, or the model is a network for something else.
        """
        if corruption is not None and not is_auto(sigma):
            raise UserError("sigma and corruption are alternatives; set one of them")
        self.prior.check_denoises(corruption)
        rows = self._rows(images, label, numbers)
        shared: dict[str, Any] = {"seed": self.seed, "label": rows.label, "numbers": rows.numbers}
        shared["batch_size"] = self.batch_size
        level: Tensor | NoiseCurve
        if corruption is not None and self.prior.network is not None:
            std = corruption.std(rows.y.clamp(-1, 1))
            return self._once(self.prior.network, rows, std, samples, progress)
        if corruption is not None:
            count = max(samples or 1, CORRUPTION_SAMPLES)
            drawn = denoise_corruption(rows.y, self.prior, corruption, count, self.steps, **shared)
            if samples is None or len(drawn) >= samples:
                return rows.back(drawn.mean(0) if samples is None else drawn[:samples])
            level = corruption_level(rows.y, self.prior, corruption, rows.label)
        else:
            level = row_levels(images, sigma, rows, self.prior)
        if samples is None:
            return rows.back(denoise(rows.y, self.prior, level, rows.label, progress))
        if isinstance(level, NoiseCurve):
            level = removable_noise(rows.y, self.prior, level, rows.label).level
        sampler = DPMpp2MSDESampler(steps=self.steps)
        return rows.back(denoise_samples(rows.y, self.prior, level, samples, sampler, **shared))

    def estimate_noise(self, images: Tensor, label: Any = None) -> NoiseCurve:
        """The noise of `images` [B, C, H, W] by channel and brightness; for a grey model and colour images, that of
        [B·C, 1, H, W]."""
        rows = self._rows(images, label, None)
        return estimate_noise(rows.y, self.prior, rows.label)

    def noise_level(self, images: Tensor, label: Any = None) -> Tensor:
        """The root mean square of the noise in `images` [B, C, H, W], on the scale of [-1, 1].

        One value per image, [B]; for a grey model and colour images one per channel, [B, C]. `denoise` accepts both.
        """
        levels = self.estimate_noise(images, label).level.to(images.device)
        return levels if len(levels) == len(images) else levels.view(len(images), -1)

    def inpaint(
        self,
        images: Tensor,
        hole: Tensor | ShapedMask,
        sigma: Sigma = 0.0,
        *,
        samples: int | None = None,
        label: Any = None,
        numbers: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Fills holes in `images` [B, C, H, W]; without noise the known pixels are returned unchanged, bit for bit.

        Args:
            images: Images in [-1, 1], with any values in the hole.
            hole: The pixels to fill: bool [H, W] or [B, H, W], or a mask such as `BoxMask(8, 8, 16, 16)`.
            sigma: Noise level of the known pixels, from which "auto" estimates it; they are denoised if it is not 0.
            samples: Number of posterior samples per image; None returns one without the dimension K.
            label, numbers, progress: See `Restorer`.
        """
        known = known_pixels(images, hole)
        images = torch.where(known, images, 0)
        levels = image_levels(images, sigma, known)
        if self.prior.shape is not None:
            groups = grouped_boxes(~known[:, 0], levels == 0, self.prior.shape[1:])
            if groups:
                return self._in_boxes(images, ~known[:, 0], levels, groups, samples, label, numbers, progress)
        rows = self._rows(images, label, numbers)
        mask = Mask(known.to(rows.y.device).repeat_interleave(rows.each, 0))
        drawn = rows.back(self._draw(rows, mask, levels, samples or 1, progress))
        exact = known & (levels.to(known.device) == 0).view(-1, 1, 1, 1)
        drawn = torch.where(exact, images.to(drawn.dtype), drawn)
        return drawn[0] if samples is None else drawn

    def _in_boxes(
        self,
        images: Tensor,
        holes: Tensor,
        levels: Tensor,
        groups: list[tuple[Tensor, list[Box]]],
        samples: int | None,
        label: Any,
        numbers: Tensor | None,
        progress: Progress | None,
    ) -> Tensor:
        """Like `inpaint`, but computes only the boxes of each group of images."""
        result = images.expand(samples or 1, *images.shape).clone()
        numbers = torch.arange(len(images)) if numbers is None else numbers.cpu()
        labels = None if label is None else self.labels(label, len(images))
        jobs = [(rows, place, box) for rows, boxes in groups for place, box in enumerate(boxes)]
        for done, (rows, place, box) in enumerate(jobs):
            here, (top, left) = rows.to(images.device), box.region
            filled = self.inpaint(
                *(images[here, :, top, left], holes[here, top, left], levels[rows]),
                samples=samples or 1,
                label=None if labels is None else labels[rows.to(labels.device)],
                numbers=numbers[rows] if place == 0 else random.fold(numbers[rows], place),
                progress=part_of(progress, done, len(jobs)),
            )
            kept = result[:, here, :, top, left]
            result[:, here, :, top, left] = torch.where(box.hole.to(images.device), filled.to(kept), kept)
        return result if samples is not None else result[0]

    def restore(
        self,
        y: Tensor,
        operator: Operator | Corruption | None = None,
        sigma: Sigma = 0.0,
        *,
        samples: int | None = None,
        label: Any = None,
        numbers: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Restores images from measurements `y` [B, C', H', W'] of `operator`, with noise.

        A model that was trained for the operator or corruption is used directly; a diffusion model without such
        training is guided by the measurement.

        Args:
            y: Measurements of images in [-1, 1], such as blurred images.
            operator: The degradation, which may be a corruption, such as JPEG, if the model was trained for it; None
                for that of the training.
            sigma: Noise level of the measurements. It is at least that of rounding to grey levels of 8 or
                16 bits if the operator amplifies rounding errors.
            samples: Number of posterior samples per image; None returns one without the dimension K.
            label, numbers, progress: See `Restorer`.

        Raises:
            UserError: If the model cannot restore the degradation.
        """
        corruption = operator if isinstance(operator, Corruption) else None
        operator = self.prior.operator_of(operator)
        rows = self._rows(y, label, numbers, adapt=not operator.joins_channels)
        network = self.prior.network
        if network is not None and operator == network.operator:
            if corruption is not None:
                std = corruption.std(rows.y.clamp(-1, 1))
            else:
                std = noise_curve(rows.y).std(rows.y) if is_auto(sigma) else image_levels(y, sigma)
            return self._once(network, rows, std, samples, progress)
        levels = image_levels(y, sigma, operator.known(y) if isinstance(operator, Mask) else None)
        drawn = rows.back(self._draw(rows, operator, levels, samples or 1, progress))
        return drawn[0] if samples is None else drawn

    @staticmethod
    def _once(network: Restores, rows: Rows, std: Tensor, samples: int | None, progress: Progress | None) -> Tensor:
        """The estimate of a restoration network. Raises UserError if samples are requested."""
        if samples is not None and samples > 1:
            raise UserError("samples must be 1: this network was trained to restore in one call, got " + str(samples))
        levels = std.repeat_interleave(rows.each).view(-1, 1, 1, 1) if std.ndim == 1 else std
        restored = rows.back(network.restored(rows.y, levels.to(rows.y), progress))
        return restored if samples is None else restored[None]

    def _draw(self, rows: Rows, operator: Operator, levels: Tensor, samples: int, progress: Progress | None) -> Tensor:
        """Posterior samples [K, R, C, H, W]; images of one noise level are restored together."""
        each = levels.repeat_interleave(rows.each)
        groups = [(each == level).nonzero().flatten() for level in each.unique()]
        drawn = []
        for place, group in enumerate(groups):
            here = group.to(rows.y.device)
            part = restore(
                *(rows.y[here], operator.rows(group), self.prior, self.method, each[group[0]].item(), samples),
                steps=self.steps,
                seed=self.seed,
                label=None if rows.label is None else rows.label[here],
                numbers=rows.numbers[group],
                batch_size=self.batch_size,
                progress=part_of(progress, place, len(groups)),
            )
            drawn.append(part)
        return torch.cat(drawn, dim=1)[:, torch.cat(groups).argsort().to(rows.y.device)]

    def _rows(self, images: Tensor, label: Any, numbers: Tensor | None, adapt: bool = True) -> Rows:
        """The images in the channels of the model, unless `adapt` is false."""
        if images.ndim != 4:
            raise UserError(f"images must have shape [B, C, H, W], got {list(images.shape)}")
        check_finite(images)
        y, labels = images.to(getattr(self.model, "device", images.device)), self.labels(label, len(images))
        numbers = torch.arange(len(images)) if numbers is None else numbers.cpu()
        rows = in_channels(y, self.prior.shape[0] if adapt and self.prior.shape else y.shape[1], numbers, labels)
        return replace(rows, back=lambda x: rows.back(x).to(images.device))

    def labels(self, label: Any, count: int) -> Tensor | None:
        """Classes int64 [count] for one class, or for a list of one per image, by number or name; None for None."""
        if label is None:
            return None
        device = getattr(self.model, "device", None)
        return self.prior.conditioning.requested(count, {"label": label}, torch.arange(count), device)["label"]
