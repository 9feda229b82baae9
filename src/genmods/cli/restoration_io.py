"""Shared by denoise, inpaint and restore: options, the model and its channels, files, the table of scores."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli import model_options
from genmods.cli.files import folder
from genmods.cli.progress import ProgressBar
from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.cli.image_batches import Restorer
    from genmods.restoration.operators import Operator


def common_arguments(parser: argparse.ArgumentParser, sigma: str, sigma_help: str) -> None:
    """Declare the options of all three commands."""
    add = parser.add_argument
    model_options.checkpoint(parser)
    add("--input", required=True, nargs="+", type=Path, metavar="PATH", help="image files and folders of them")
    add("--out", required=True, type=folder, metavar="DIR", help="output folder")
    add("--truth", type=Path, metavar="DIR", help="ground-truth images of the same names; prints PSNR, SSIM and LPIPS")
    add("--features", metavar="F", help="features for the FID: a classifier's run, `inception` or `pixels`")
    add("--sigma", default=sigma, metavar="S", help=sigma_help)
    add("--samples", type=int, default=1, metavar="K", help="samples per image; their spread estimates the uncertainty")
    add("--steps", type=int, default=20, help="network calls per sample (default 20)")
    add("--label", metavar="CLASS", help="class of the images, by number or name, for a class-conditional model")
    add("--batch_size", type=int, default=64, help="batch size (default 64)")
    add("--seed", type=int, default=0, help="random seed; a sample depends only on it and the image's number")
    add("--quiet", action="store_true", help="no progress bar")
    model_options.arguments(parser)


def method_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--method`."""
    help_text = "a method of `genmods list method`, with settings, or auto (default)"
    parser.add_argument("--method", default="auto", metavar="NAME[:KEY=VALUE,...]", help=help_text)


def _read_part(kind: str, text: str) -> tuple[str, dict[str, Any]]:
    """Parse NAME or NAME:KEY=VALUE,KEY=VALUE into name and settings, with values as in a recipe."""
    from genmods.config.text import parse, plain

    settings: dict[str, Any] = {}
    name, _, rest = text.partition(":")
    for pair in filter(None, re.split(r",(?=\w+=)", rest)):
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{kind} {text}: expected settings KEY=VALUE,KEY=VALUE after the colon")
        settings[key] = plain(parse(value, f"{kind} {text}", marks=False))
    return name, settings


def part(kind: str, text: str) -> Any:
    """The registered part described by `text`, NAME or NAME:KEY=VALUE."""
    from genmods.config.build import create

    name, settings = _read_part(kind, text)
    return create(kind, name, **settings)


def sampling_method(text: str, steps: int) -> Any:
    """The method described by `text`; it, or its sampler, takes `steps` steps unless `text` sets them."""
    from genmods.config.build import create

    name, settings = _read_part("method", text)
    sampler = settings.get("sampler")
    if sampler is None:
        settings = {"steps": steps} | settings
    else:
        settings["sampler"] = {"steps": steps} | (sampler if isinstance(sampler, dict) else {"name": sampler})
    return create("method", name, **settings)


def noise_std(text: str) -> float | None:
    """`--sigma` (0 to 255) as a standard deviation on the scale of [-1, 1]; None for auto."""
    if text == "auto":
        return None
    try:
        sigma = float(text)
    except ValueError:
        sigma = -1.0
    if not 0 <= sigma < float("inf"):
        raise UserError(f"--sigma must be auto or at least 0, on the scale of 0 to 255, got {text}")
    return 2 * sigma / 255


class Session:
    """One call of a command: its options and its model, on the GPU if available."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        from genmods.restoration.prior import Prior
        from genmods.runs import folders

        for name in ("samples", "steps", "batch_size"):
            if getattr(options, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(options, name)}")
        self.options, self.sigma = options, noise_std(options.sigma)
        self.model: Any = folders.load(options.ckpt_path)
        try:
            Prior.of(self.model)
        except UserError as error:
            raise UserError(f"--ckpt_path {options.ckpt_path}: {error}") from None
        self.model = model_options.placed(self.model, options).requires_grad_(False)
        self.channels: int = self.model.image_shape[0]
        self.class_number: int | None = None
        if options.label is not None:
            conditioning = self.model.diffusion_model().conditioning
            self.class_number = int(conditioning.requested(1, {"label": options.label}, torch.zeros(1))["label"])

    def conditions(self, y: Tensor, numbers: Tensor) -> dict[str, Any]:
        """The settings common to all restorations of the batch `y` [B, C, H, W]."""
        import torch

        options, number = self.options, self.class_number
        label = None if number is None else torch.full((len(y),), number, device=y.device)
        return {"label": label, "numbers": numbers, "seed": options.seed, "batch_size": options.batch_size}

    def adapt(self, images: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """Images [B, C, H, W] and their numbers in the model's channels, and the inverse for results [..., C, H, W].

        A grey model is applied to each channel of a colour image, with the same noise, so that grey stays grey; for a
        colour model, a grey image is repeated in three channels.
        """
        have, want = images.shape[1], self.channels
        y = images.to(self.model.device)
        if have == want:
            return y, numbers, lambda results: results.cpu()
        if want != 1:
            return y.expand(-1, want, -1, -1), numbers, lambda results: results.mean(-3, keepdim=True).cpu()
        each = numbers.repeat_interleave(have)
        return y.flatten(0, 1)[:, None], each, lambda results: results.unflatten(-4, (-1, have)).squeeze(-3).cpu()

    def noise(self, images: Tensor) -> Tensor:
        """The noise level of each image [B], given or estimated."""
        import torch

        from genmods.restoration.noise import estimate_sigma

        if self.sigma is None:
            return estimate_sigma(images)
        return torch.full((len(images),), self.sigma, dtype=torch.float64)

    def samples(self, y: Tensor, operator: Operator, numbers: Tensor, sigma: Tensor) -> Tensor:
        """Posterior samples [K, B, C, H, W] for the measurements `y` of B images by `operator`.

        `sigma` is the noise level of each measurement, or of each group of consecutive measurements.
        """
        import torch

        from genmods.restoration.restore import restore

        options = self.options
        method = options.method
        if method != "auto":
            method = sampling_method(method, options.steps)
        settings = {"samples": options.samples, "steps": options.steps}
        levels = sigma.repeat_interleave(len(y) // len(sigma))

        def drawn(rows: Tensor) -> Tensor:
            some, level = y[rows.to(y.device)], levels[rows[0]].item()
            conditions = self.conditions(some, numbers[rows])
            return restore(some, operator.rows(rows), self.model, method, level, **settings, **conditions)

        groups = [(levels == level).nonzero().flatten() for level in levels.unique()]
        return torch.cat([drawn(rows) for rows in groups], dim=1)[:, torch.cat(groups).argsort().to(y.device)]

    def process(self, restorer: Restorer) -> None:
        """Restore the files and print the scores; raises UserError if some files failed."""
        from genmods.cli.image_batches import restore_files
        from genmods.cli.scores import Scores

        options, started = self.options, time.perf_counter()
        scores = Scores(model_options.find_features(options.features, self.model))
        with ProgressBar(options.quiet, "restoring") as bar:
            bad = restore_files(
                options.input, options.out, restorer, options.truth, options.batch_size, bar, scores.add
            )
        if scores.rows:
            say(*scores.table())
            scores.write(options.out / "figures.csv")
        if not options.quiet:
            say(f"{options.out}: done in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        for line in bad:
            say(line, file=sys.stderr)
        if bad:
            raise UserError(f"{len(bad)} {'file was' if len(bad) == 1 else 'files were'} not restored")
