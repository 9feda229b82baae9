"""`genmods export`: exports a trained model, for genmods or in the format of another program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genmods.cli import model_options
from genmods.core.errors import UserError
from genmods.core.printable import say

if TYPE_CHECKING:
    from genmods.runs.checkpoint import Checkpoint

SUFFIXES = {
    "file": ".safetensors",
    "folder": "",
    "onnx": ".onnx",
    "onnx-sampler": ".onnx",
    "timm": ".safetensors",
    "diffusers": "",
}
"""Format -> how the output path ends."""


def arguments(parser: argparse.ArgumentParser) -> None:
    model_options.checkpoint(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="PATH", help="NAME.safetensors, NAME.onnx, or a folder"
    )
    text = (
        "the format (default: file, folder or onnx by the ending of PATH); onnx-sampler is a graph from noise to images"
    )
    parser.add_argument("--to", choices=tuple(SUFFIXES), help=text)
    parser.add_argument("--raw", action="store_true", help="export the raw weights instead of the EMA weights")
    text = "licence of the weights, for the model card of a folder: an identifier such as apache-2.0"
    parser.add_argument("--license", default="unknown", metavar="L", help=text)
    text = "upload the folder to the Hugging Face Hub; a new repository is private"
    parser.add_argument("--sampler", metavar="NAME", help="for onnx-sampler: a sampler instead of the run's")
    parser.add_argument("--steps", type=int, metavar="N", help="for onnx-sampler: number of sampling steps")
    parser.add_argument("--push", metavar="ORG/NAME", help=text)


def run(options: argparse.Namespace) -> None:
    target = _format(options)
    if options.push and target != "folder":
        raise UserError(f"--push uploads a folder, got the format {target}")
    if (options.sampler or options.steps is not None) and target != "onnx-sampler":
        raise UserError("--sampler and --steps require --to onnx-sampler")
    from genmods.runs.checkpoint import Checkpoint
    from genmods.runs.folders import find_checkpoint

    checkpoint = Checkpoint.read(find_checkpoint(options.ckpt_path))
    for path in _written(target, checkpoint, options):
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _format(options: argparse.Namespace) -> str:
    """The requested format. Raises UserError if the output path has another suffix."""
    found = next((name for name, suffix in SUFFIXES.items() if suffix == options.out.suffix), None)
    target = options.to or found
    if target is None:
        endings = " or ".join(filter(None, SUFFIXES.values()))
        raise UserError(f"--out must end in {endings}, or name a folder, got {options.out}")
    if SUFFIXES[target] and options.out.suffix != SUFFIXES[target]:
        raise UserError(f"--out must end in {SUFFIXES[target]}, got {options.out}")
    if not SUFFIXES[target] and options.out.is_file():
        raise UserError(f"--out must name a folder, got the file {options.out}")
    return target


def _written(target: str, checkpoint: Checkpoint, options: argparse.Namespace) -> list[Path]:
    """Export the checkpoint; returns the files."""
    if target == "folder":
        return _folder(checkpoint, options)
    if target == "diffusers":
        from genmods.runs.export.diffusers_folder import export_diffusers

        return export_diffusers(checkpoint.model(options.raw), options.out)
    if target == "file":
        from genmods.runs.export.file import export

        export(checkpoint, options.out, options.raw)
    elif target == "timm":
        from genmods.runs.export.timm_file import export_timm

        export_timm(checkpoint, options.out, options.raw)
    else:
        _onnx(target, checkpoint, options)
    return [options.out]


def _folder(checkpoint: Checkpoint, options: argparse.Namespace) -> list[Path]:
    from genmods.runs import hub
    from genmods.runs.export.folder import export_folder

    where = f"{hub.PREFIX}{options.push.removeprefix(hub.PREFIX)}" if options.push else None
    files = export_folder(checkpoint, options.out, options.raw, options.license, where)
    if options.push:
        say(f"pushed: {hub.push(files, options.push)}", file=sys.stderr)
    return files


def _onnx(target: str, checkpoint: Checkpoint, options: argparse.Namespace) -> None:
    from genmods.models import UsesSampler, choose_sampler
    from genmods.runs.export.graphs import graph_of, sampling_graph
    from genmods.runs.export.onnx_file import export_onnx

    model = checkpoint.model(options.raw)
    if target == "onnx":
        graph = graph_of(model)
    elif isinstance(model, UsesSampler):
        graph = sampling_graph(model, choose_sampler(model.default_sampler(), options.sampler, options.steps, model))
    else:
        graph = sampling_graph(model)
    difference = export_onnx(graph, checkpoint, options.out)
    say(f"largest difference from the model, by ONNX Runtime: {difference:.2g}", file=sys.stderr)
