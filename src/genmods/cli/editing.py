"""Shared by interpolate, vary and invert: options, the model as an `Editor`, and the images of files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli import model_options
from genmods.cli.files import folder, readable
from genmods.core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.models import Editor


def common_arguments(parser: argparse.ArgumentParser, inputs: str) -> None:
    """Declare the options of all three commands; `inputs` describes `--input`."""
    add = parser.add_argument
    model_options.checkpoint(parser)
    add("--input", required=True, nargs="+", type=Path, metavar="PATH", help=inputs)
    add("--out", required=True, type=folder, metavar="DIR", help="output folder")
    model_options.condition_arguments(parser)
    add("--batch_size", type=int, default=64, help="batch size (default 64)")
    add("--quiet", action="store_true", help="no progress bar")
    model_options.arguments(parser)


def solver_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--solver` and `--steps`."""
    text = "flow (default), the probability flow, with four network calls per step, or ddim, DDIM inversion, with one"
    parser.add_argument("--solver", choices=("flow", "ddim"), default="flow", help=text)
    parser.add_argument("--steps", type=int, default=32, metavar="N", help="steps in each direction (default 32)")


def editor(options: argparse.Namespace) -> tuple[Editor, dict[str, Any]]:
    """The model of `--ckpt_path` as an `Editor` on the default device, and the requested condition."""
    from genmods.models import Editor
    from genmods.runs import folders

    settings = {name: getattr(options, name) for name in ("solver", "steps") if hasattr(options, name)}
    for name in ("steps", "batch_size"):
        if getattr(options, name, 1) < 1:
            raise UserError(f"--{name} must be at least 1, got {getattr(options, name)}")
    model: Any = folders.load(options.ckpt_path)
    try:
        made = Editor(model, batch_size=options.batch_size, **settings)
        request = model_options.request(options)
        if request:
            import torch

            made.model.conditioned_on().requested(1, request, torch.zeros(1, dtype=torch.int64))
    except UserError as error:
        raise UserError(f"--ckpt_path {options.ckpt_path}: {error}") from None
    model_options.placed(model, options)
    return made, request


def images_of(editor: Editor, paths: list[Path]) -> tuple[list[str], Tensor]:
    """Names and images [B, C, H, W] in [-1, 1] of files, prepared like the training images of the model.

    Raises UserError, with a line for each of them, if files cannot be read.
    """
    import torch

    from genmods.data.preparation import Preparation

    model = editor.model.diffusion_model()
    broken: list[str] = []
    preparation = editor.model.preparation or Preparation.of_shape(model.image_shape)
    names, images = readable(paths, preparation, broken)
    if broken:
        raise UserError(*broken)
    return names, torch.stack(images)
