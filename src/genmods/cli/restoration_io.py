"""Shared by denoise, inpaint and restore: options, the model and its channels, files, the table of scores."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genmods.cli import model_options
from genmods.cli.files import folder
from genmods.cli.progress import ProgressBar
from genmods.cli.unfinished import Unfinished, continued_by_the_same_call, fingerprint
from genmods.core.errors import UserError
from genmods.core.locking import owned
from genmods.core.printable import counted, say

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.cli.image_batches import RestoreBatch
    from genmods.core.progress import Progress
    from genmods.metrics.features import Features


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


def noise_std(text: str) -> float | Literal["auto"]:
    """`--sigma` (0 to 255) as a standard deviation on the scale of [-1, 1], or auto."""
    if text == "auto":
        return "auto"
    try:
        sigma = float(text)
    except ValueError:
        sigma = -1.0
    if not 0 <= sigma < float("inf"):
        raise UserError(f"--sigma must be auto or at least 0, on the scale of 0 to 255, got {text}")
    return 2 * sigma / 255


SMALLEST_CHANGE = 0.5
"""The least root mean square change of a denoised image, in grey levels of 8 bits, without a warning."""


class Session:
    """One call of a command: its options, and its model as a `Restorer`, on the GPU if available.

    The restorer uses `use(model)` instead of the model, if given.
    """

    def __init__(self, options: argparse.Namespace, use: Callable[[Any], Any] | None = None) -> None:
        from genmods.restoration.restorer import Restorer
        from genmods.runs import folders

        for name in ("samples", "steps", "batch_size"):
            if getattr(options, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(options, name)}")
        self.options, self.sigma = options, noise_std(options.sigma)
        method = getattr(options, "method", "auto")
        if method != "auto":
            method = sampling_method(method, options.steps)
        self.model: Any = folders.load(options.ckpt_path)
        try:
            used = self.model if use is None else use(self.model)
            self.restorer = Restorer(used, method, options.steps, options.seed, options.batch_size)
        except UserError as error:
            raise UserError(f"--ckpt_path {options.ckpt_path}: {error}") from None
        model_options.placed(self.model, options).requires_grad_(False)
        if options.label is not None:
            self.restorer.labels(options.label, 1)  # report an unknown class before any image

    def settings(self, numbers: Tensor, progress: Progress) -> dict[str, Any]:
        """The settings common to all restorations of the images with these `numbers` [B]."""
        return {"label": self.options.label, "numbers": numbers, "progress": progress}

    def process(self, restorer: RestoreBatch) -> None:
        """Restore the files, continuing where the same call was stopped, and print the scores.

        Raises UserError if some files failed.
        """
        import numpy as np

        from genmods.cli.image_batches import batches, names, restore_files
        from genmods.cli.megapixels import Megapixels
        from genmods.cli.scores import Scorer

        bad: list[str] = []
        options, started = self.options, time.perf_counter()
        with ExitStack() as stack:
            stack.enter_context(owned(options.out))
            paths = names(options.input, options.out)
            work = Unfinished(options.out / ".unfinished", self._request(list(paths)))
            bar = stack.enter_context(ProgressBar(options.quiet, "restoring", "megapixels"))
            numbers = {str(name): number for number, name in enumerate(paths.values())}
            progress = Megapixels(bar, paths)
            progress.finish(numbers[name] for name in work.done)
            context = continued_by_the_same_call(
                lambda: f"{options.out} has {len(work.done)} of {counted(len(paths), 'image')}"
            )
            stack.enter_context(context)
            scorer = Scorer(model_options.find_features(options.features, self.model))
            preparation = getattr(self.model, "preparation", None)
            value_range = preparation and preparation.range
            todo = batches(paths, options.truth, options.batch_size, bad, value_range, frozenset(work.done))
            for scores in restore_files(todo, options.out, restorer, scorer, bad, progress.within):
                embedded = [features.numpy() for _, features in scores.values() if features is not None]
                arrays = {"features": np.stack(embedded)} if embedded else {}
                work.add([(name, row) for name, (row, _) in scores.items()], **arrays)
                progress.finish(numbers[name] for name in scores)
            self._print_results(work, scorer.features)
            work.remove()
        if not options.quiet:
            say(f"{options.out}: done in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        for line in bad:
            say(line, file=sys.stderr)
        if bad:
            raise UserError(f"{counted(len(bad), 'file')} {'was' if len(bad) == 1 else 'were'} not restored")

    def _request(self, paths: list[Path]) -> dict[str, Any]:
        """Plain data on which the results depend: options and the state of the files."""
        from genmods.data.walk import find_images

        mask = Path(getattr(self.options, "mask", None) or "")
        others = [path for path in (self.options.truth, mask) if path is not None and path.exists() and path != Path()]
        files = fingerprint([*paths, *find_images(others)])
        return {**model_options.dependencies(self.options, "out", "quiet"), "files": files}

    def _print_results(self, work: Unfinished, features: Features | None) -> None:
        """Prints messages about the images and the scores, and writes the scores to OUT/figures.csv."""
        import torch

        from genmods.cli.scores import COLUMNS, fid, table, write

        unchanged = [(name, row["sigma"]) for name, row in work.rows() if row.get("change", 1.0) < SMALLEST_CHANGE]
        if unchanged:
            name, level = unchanged[0]
            images = counted(len(unchanged), "image")
            found = f"{images} hardly changed, {name} first, in which a noise level of {level:.2g} was found"
            say(f"{found}; --sigma sets a level", file=sys.stderr)
        if rows := {name: row for name, row in work.rows() if not row.keys().isdisjoint(COLUMNS)}:
            say(*table(rows))
            if features is not None and len(rows) > 1:
                say(fid(torch.from_numpy(work.array("features")), features))
            write(rows, self.options.out / "figures.csv")
