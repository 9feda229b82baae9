"""Options shared by commands that load a trained model: checkpoint, precision, condition, features."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from genmods.core.errors import UserError
from genmods.core.printable import counted, say

if TYPE_CHECKING:
    from genmods.metrics.features import Features
    from genmods.models import Model


def checkpoint(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Declare `--ckpt_path`."""
    text = "a run folder, a checkpoint, an exported model, hf:ORG/NAME@REVISION, or `last`, the newest run"
    parser.add_argument("--ckpt_path", required=required, metavar="C", help=text)


def arguments(parser: argparse.ArgumentParser) -> None:
    text = "precision of the networks: 32 (default; reproducible up to rounding), bf16, or auto (the faster one)"
    parser.add_argument("--precision", choices=("auto", "32", "bf16"), default="32", help=text)


def placed(model: Any, options: argparse.Namespace) -> Any:
    """`model` on the default device, its networks under autocast if `--precision` resolves to bfloat16."""
    import torch

    from genmods.core.devices import default_device
    from genmods.core.precision import BFLOAT16, resolve
    from genmods.networks.base import compute_in, outermost_networks

    device = default_device()
    choice = resolve(options.precision, device)
    if options.precision != "32":
        say(f"precision {choice}", file=sys.stderr)
    if choice.value == BFLOAT16:
        for network in outermost_networks(model):
            compute_in(network, device.type, torch.bfloat16)
    return model.to(device)


def condition_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--condition` and `--label`."""
    text = "condition of the samples; [A, B] cycles through values; may be repeated"
    parser.add_argument("--condition", action="append", default=[], metavar="NAME=VALUE", help=text)
    parser.add_argument("--label", metavar="K", help="class number or name; short for --condition label=K")


def request(options: argparse.Namespace) -> dict[str, Any]:
    """The condition given by `--condition` and `--label`, by name; raises UserError for invalid text."""
    values: dict[str, Any] = {}
    for text in options.condition:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UserError(f"--condition: expected NAME=VALUE, such as label=3 or age=[20, 40], got {text}")
        values[name] = _value(value)
    if options.label is not None:
        values["label"] = options.label
    return values


def _value(text: str) -> str | list[str]:
    """The items of [A, B], or the text itself; not converted to numbers, since a class may be called 007."""
    if text.startswith("[") and text.endswith("]"):
        return [item.strip() for item in text[1:-1].split(",") if item.strip()]
    return text


def find_features(choice: str | None, model: Model) -> Features | None:
    """The feature extractor `choice`; by default the embedding of `model` if it is a classifier, otherwise None."""
    from genmods.core.devices import default_device
    from genmods.metrics.features import classifier_features
    from genmods.models import Classifies

    if choice is None:
        return classifier_features(model, device=default_device()) if isinstance(model, Classifies) else None
    return named_features(choice, model.image_shape)


def named_features(choice: str, shape: tuple[int, ...] | None) -> Features:
    """The feature extractor `choice` for images of a shape [C, H, W]: a part, a part with its weights, or a run."""
    from genmods.config import registry
    from genmods.config.build import create
    from genmods.core.devices import default_device
    from genmods.metrics.features import classifier_features
    from genmods.runs import folders

    place = default_device()
    name, equals, weights = choice.partition("=")
    if name in registry.entries("features"):
        try:
            return create("features", name, **({"weights": weights} if equals else {})).features(place)
        except (ValueError, TypeError) as error:
            raise UserError(f"--features {choice}: {error}") from None
    classifier = folders.load(choice)
    expected = classifier.image_shape
    if expected and shape and expected[0] != shape[0]:
        raise UserError(f"--features {choice}: images must have {counted(expected[0], 'channel')}, got {shape[0]}")
    features = classifier_features(classifier, device=place)
    say(f"features {features.name} of {choice}", file=sys.stderr)
    return features


def dependencies(options: argparse.Namespace, *free: str) -> dict[str, Any]:
    """What results depend on: the options of a command but the `free` ones, and its checkpoint files as they are."""
    from genmods.runs import folders

    settings = {name: value for name, value in vars(options).items() if name not in free}
    for name in ("ckpt_path", "classifier", "worse", "features"):
        try:
            path = folders.find_checkpoint(settings[name])
            state = path.stat()
        except (KeyError, TypeError, UserError, OSError):  # none, or not a local file
            continue
        settings[name] = [str(path.resolve()), state.st_size, state.st_mtime_ns]
    return settings
