"""`genmods generate`: samples images from a trained model, as PNG files, a grid and an array."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

from genmods.cli import average, guidance, model_options
from genmods.cli.files import folder
from genmods.cli.progress import ProgressBar
from genmods.cli.sample_files import SampleFiles
from genmods.cli.unfinished import continued_by_the_same_call
from genmods.core.errors import UserError
from genmods.core.locking import owned
from genmods.core.printable import counted, say

if TYPE_CHECKING:
    from genmods.data.base import DataModule


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    model_options.checkpoint(parser)
    add("--n", type=int, default=64, help="number of images (default 64)")
    add(
        "--out",
        required=True,
        type=folder,
        metavar="DIR",
        help="output folder of 00000.png ..., grid.png and samples.npz",
    )
    model_options.condition_arguments(parser)
    add("--sampler", metavar="NAME", help="a sampler of `genmods list sampler` instead of the run's")
    add("--steps", type=int, metavar="N", help="number of sampling steps")
    add("--seed", type=int, default=0, help="random seed; image i depends only on the seed and i (default 0)")
    add("--batch_size", type=int, default=256, help="batch size (default 256)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--raw", action="store_true", help="use the raw weights instead of the EMA weights")
    text = "average of this length, a share of the training such as 0.07, of a run with the callback power_ema"
    which.add_argument("--ema", type=float, metavar="LENGTH", help=text)
    add("--quiet", action="store_true", help="no progress bar")
    model_options.arguments(parser)
    guidance.arguments(parser)


def run(options: argparse.Namespace) -> None:
    if options.n < 1 or options.batch_size < 1:
        raise UserError(f"--n and --batch_size must be at least 1, got {options.n} and {options.batch_size}")
    import torch

    from genmods.models import Generates
    from genmods.runs import folders

    model: Any = (
        folders.load(options.ckpt_path, options.raw)
        if options.ema is None
        else average.checkpoint(options.ckpt_path, options.ema).model()
    )
    if not isinstance(model, Generates):
        raise UserError(f"--ckpt_path {options.ckpt_path}: expected a generative model, got {type(model).__name__}")
    model = model_options.placed(model, options)
    request, settings = requested(model, options), sampling_settings(model, options)
    cond = model.conditioned_on().requested(options.n, request, torch.arange(options.n)) if request else {}
    if request:
        settings["condition"] = request
    shows = cache(lambda: data_of(options.ckpt_path).show)
    with ExitStack() as stack:
        stack.enter_context(owned(options.out))
        depends = model_options.dependencies(options, "out", "quiet", "n")
        files = SampleFiles(options.out, options.n, depends, model.preparation)
        bar = stack.enter_context(ProgressBar(options.quiet))
        context = continued_by_the_same_call(lambda: f"{files.folder} has {files.done} of {counted(files.n, 'image')}")
        stack.enter_context(context)
        bar(files.done, options.n)
        while files.done < options.n:
            first = files.done
            count = min(options.batch_size, options.n - first)
            samples = model.sample(count, seed=options.seed, batch_size=count, first=first, **settings).cpu()
            files.add(samples if samples.ndim == 4 else shows()(samples), samples)
            bar(files.done, options.n)
        shown = files.finish(cond, lambda samples: shows()(samples))
    which = "all" if shown == options.n else f"the first {shown}"
    say(f"{counted(options.n, 'image')} in {options.out}, {which} on {options.out / 'grid.png'}")


def requested(model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """The requested condition, values by name; raises UserError if the model is unconditional."""
    from genmods.models import Conditional

    request = model_options.request(options)
    if request and not isinstance(model, Conditional):
        raise UserError(f"--{'label' if options.label else 'condition'}: a {type(model).__name__} is unconditional")
    if options.classifier and request and "label" not in model.conditioned_on().names:
        del request["label"]  # only for the classifier
    return request


def sampling_settings(model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """The settings of `sample` given by the options; raises UserError for those that the model does not support."""
    from genmods.models import Denoises, UsesSampler, choose_sampler

    settings: dict[str, Any] = {}
    if options.sampler is not None or options.steps is not None:
        if not isinstance(model, UsesSampler):
            raise UserError(f"--{'sampler' if options.sampler else 'steps'}: a {type(model).__name__} has no sampler")
        try:
            settings["sampler"] = choose_sampler(model.default_sampler(), options.sampler, options.steps, model)
        except UserError as error:
            raise UserError(f"--{error}" if str(error).startswith("steps:") else str(error)) from None
    if given := [name for name in guidance.SETTINGS if getattr(options, name) is not None]:
        if not isinstance(model, Denoises):
            raise UserError(f"--{given[0]}: guidance requires a diffusion model, got {type(model).__name__}")
        settings["guide"] = guidance.guide(model, options)
    return settings


def data_of(ckpt_path: str) -> DataModule:
    """The data module of a run, which renders samples other than images."""
    from genmods.runs import folders
    from genmods.runs.checkpoint import Checkpoint
    from genmods.runs.fit import build_data

    return build_data(Checkpoint.read(folders.find_checkpoint(ckpt_path)).parsed())
