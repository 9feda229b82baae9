"""Editing of images with a diffusion model: inversion, interpolation of latents, and variation from a noise level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from genmods.core import random
from genmods.core.devices import float64_device
from genmods.core.errors import UserError
from genmods.core.image_range import check_finite, check_images
from genmods.core.progress import Progress, part_of
from genmods.core.settings import BatchSize, Steps, Validated
from genmods.diffusion.conditioning import Condition
from genmods.diffusion.denoiser import Denoise, matching_time
from genmods.diffusion.flow import flow_decode, flow_invert
from genmods.diffusion.grids import KarrasGrid
from genmods.diffusion.inversion import ddim_decode, ddim_invert
from genmods.diffusion.noise import noise_stream
from genmods.diffusion.samplers.base import Sampler
from genmods.models.abilities import Denoises
from genmods.models.diffusion import DiffusionModel, choose_sampler

Map = Callable[..., Tensor]
SOLVERS: dict[str, tuple[Map, Map]] = {"flow": (flow_invert, flow_decode), "ddim": (ddim_invert, ddim_decode)}
"""Solver -> (images to latents, latents to images)."""


@dataclass
class Editor(Validated):
    """Maps images [B, C, H, W] in [-1, 1] to latents and back, and edits them there.

    Every method takes `condition`, values by the names of the model's conditioning such as `{"label": 3}`, one for all
    images or a list of one per image; None is the null condition. Results are on the device of the images.

    Args:
        model: A diffusion model, such as the result of `genmods.load`.
        solver: "flow", the probability flow ODE by a fourth-order solver with four calls per step, or "ddim", DDIM
            inversion with one call per step.
        steps: Number of steps of the solver in one direction.
        batch_size: The largest number of images per network call.

    Raises:
        UserError: If the model is not a diffusion model, or its process has fewer levels than `steps`.
    """

    model: Any
    solver: Literal["flow", "ddim"] = "flow"
    steps: Steps = 32
    batch_size: BatchSize = 64

    def __post_init__(self) -> None:
        if not isinstance(self.model, Denoises):
            raise UserError(f"editing requires a diffusion model, got {type(self.model).__name__}")
        self._diffusion: DiffusionModel = self.model.diffusion_model()
        levels = self._diffusion.process.levels
        if self.solver == "ddim" and levels is not None and self.steps > len(levels):
            raise UserError(f"steps must be at most {len(levels)}, the levels of the process, got {self.steps}")

    def invert(
        self, images: Tensor, condition: Mapping[str, Any] | None = None, progress: Progress | None = None
    ) -> Tensor:
        """The latents [B, C', H', W'] of `images` [B, C, H, W]: the noise from which a deterministic sampler generates
        them."""
        self._check(images)
        x0 = torch.cat([self._diffusion.latents.encode(part) for part in self._moved(images).split(self.batch_size)])
        return self._mapped(SOLVERS[self.solver][0], x0, condition, progress).to(images.device)

    def generate(
        self, latents: Tensor, condition: Mapping[str, Any] | None = None, progress: Progress | None = None
    ) -> Tensor:
        """The images [B, C, H, W] of `latents` [B, C', H', W'], by the solver."""
        check_finite(latents, "latents")
        x0 = self._mapped(SOLVERS[self.solver][1], self._moved(latents), condition, progress)
        return torch.cat([self._diffusion.latents.decode(part) for part in x0.split(self.batch_size)]).to(
            latents.device
        )

    def interpolate(
        self,
        first: Tensor,
        second: Tensor,
        frames: int = 9,
        condition: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Images between two batches, by spherical interpolation of their latents.

        Args:
            first: The images [B, C, H, W] of the first frame.
            second: Those of the last frame, of the same shape.
            frames: Number of frames with both ends, which are reconstructions, at least 2.
            condition, progress: See `Editor`.

        Returns:
            Images [frames, B, C, H, W].

        Raises:
            UserError: If the shapes differ, or `frames` is below 2.
        """
        if frames < 2:
            raise UserError(f"frames must be at least 2, got {frames}")
        if first.shape != second.shape:
            raise UserError(f"images must have the same shape, got {list(first.shape)} and {list(second.shape)}")
        one = self.invert(first, condition, part_of(progress, 0, 3))
        two = self.invert(second, condition, part_of(progress, 1, 3))
        between = torch.stack([slerp(one, two, k / (frames - 1)) for k in range(frames)])
        repeated = None if condition is None else {k: _times(v, frames) for k, v in condition.items()}
        images = self.generate(between.flatten(0, 1), repeated, part_of(progress, 2, 3))
        return images.unflatten(0, (frames, len(first)))

    def vary(
        self,
        images: Tensor,
        sigma: float,
        samples: int = 4,
        condition: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        sampler: Sampler | str | None = None,
        guidance: float = 1.0,
        numbers: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Variations: noise is added to the images and removed again (SDEdit, Meng et al. 2022).

        Args:
            images: Images [B, C, H, W].
            sigma: Standard deviation of the noise on the scale of [-1, 1]. The larger, the freer the variations.
            samples: Variations per image, at least 1.
            condition: See `Editor`; another class than that of the image translates it.
            seed: Sample k of image i depends on `seed`, k and the number of the image only.
            sampler: Replaces the default sampler of the model; also the name of a registered one.
            guidance: Scale of classifier-free guidance; 1 means no guidance.
            numbers: The numbers of the images, int64 [B]; by default 0 to B - 1.
            progress: See `Editor`.

        Returns:
            Images [samples, B, C, H, W].
        """
        self._check(images)
        if not 0 < sigma < float("inf"):
            raise UserError(f"sigma must be above 0, got {sigma:g}")
        if samples < 1:
            raise UserError(f"samples must be at least 1, got {samples}")
        model, count = self._diffusion, len(images)
        chosen = choose_sampler(model.sampler, sampler, None, model)
        t = matching_time(model.process.on_cpu, torch.tensor([sigma]))
        ended = model.process.truncated(t.item())
        grid = (chosen.grid or chosen.own_grid or KarrasGrid())(ended.on_cpu, chosen.steps)
        t = t.to(float64_device(model.device))
        numbers = torch.arange(count) if numbers is None else numbers.cpu()
        keys = torch.cat([random.fold(numbers, k) for k in range(samples)])
        x0 = model.latents.encode(self._moved(images)).repeat(samples, *[1] * (images.ndim - 1))
        cond = self._condition(count, condition)
        repeated = {name: value.repeat(samples, *[1] * (value.ndim - 1)) for name, value in cond.items()}
        parts, chunks = [], torch.arange(len(x0)).split(self.batch_size)
        for place, rows in enumerate(chunks):
            denoise = self._bound(repeated, rows, guidance)
            noise = noise_stream(seed, keys[rows], tuple(x0.shape[1:]), x0.device, x0.dtype)
            start = model.process.diffuse(x0[rows], noise.initial(), t.expand(len(rows)))
            with torch.no_grad():
                drawn = chosen(denoise, start, grid, noise, part_of(progress, place, len(chunks)))
            parts.append(model.latents.decode(drawn))
        return torch.cat(parts).unflatten(0, (samples, count)).to(images.device)

    def _mapped(self, solve: Map, x: Tensor, condition: Mapping[str, Any] | None, progress: Progress | None) -> Tensor:
        cond, parts, chunks = self._condition(len(x), condition), [], torch.arange(len(x)).split(self.batch_size)
        for place, rows in enumerate(chunks):
            report = part_of(progress, place, len(chunks))
            parts.append(solve(self._bound(cond, rows), x[rows], self.steps, progress=report))
        return torch.cat(parts)

    def _bound(self, cond: Condition, rows: Tensor, guidance: float = 1.0) -> Denoise:
        return self._diffusion.denoise({name: value[rows] for name, value in cond.items()}, guidance)

    def _condition(self, count: int, request: Mapping[str, Any] | None) -> Condition:
        model = self._diffusion
        if not request:
            return model.conditioning.null(count, model.device)
        return model.conditioning.requested(count, request, torch.arange(count), model.device)

    def _moved(self, x: Tensor) -> Tensor:
        return x.to(self._diffusion.device, self._diffusion.dtype)

    def _check(self, images: Tensor) -> None:
        shape = self._diffusion.image_shape
        if images.shape[1:] != shape:
            raise UserError(f"images must have shape {['B', *shape]}, got {list(images.shape)}".replace("'", ""))
        check_images(images, shape or (), noisy=True)


def _times(values: Any, frames: int) -> Any:
    """Values of B images for `frames` times as many."""
    return list(values) * frames if isinstance(values, list | tuple) else values


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Spherical interpolation of `first` and `second` [B, ...]: the first for `share` 0, the second for 1.

    The angle between the rows changes uniformly. Unlike a mean, the result of two normal vectors has their norm. Rows
    that are nearly parallel are interpolated linearly.
    """
    one, two = first.flatten(1), second.flatten(1)
    cos = torch.nn.functional.cosine_similarity(one, two, dim=1).clamp(-1, 1)
    angle = torch.acos(cos)
    straight = angle.sin() < 1e-4
    safe = torch.where(straight, 1.0, angle.sin())
    a = torch.where(straight, torch.full_like(angle, 1 - share), torch.sin((1 - share) * angle) / safe)
    b = torch.where(straight, torch.full_like(angle, share), torch.sin(share * angle) / safe)
    shape = (-1, *[1] * (first.ndim - 1))
    return a.view(shape) * first + b.view(shape) * second


def round_trip_error(editor: Editor, images: Tensor, condition: Mapping[str, Any] | None = None) -> Tensor:
    """The root mean square difference [B] between `images` [B, C, H, W] and their images after inversion and back."""
    back = editor.generate(editor.invert(images, condition), condition)
    return (back - images).flatten(1).square().mean(1).sqrt()
