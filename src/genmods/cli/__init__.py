"""The command line: one file per subcommand, imported when the subcommand is called.

The module of a subcommand has `arguments(parser)`, which declares its options, and `run(options)`, which does the
work. `options.command` is the name of the subcommand. If `OVERRIDES` lists sections of a recipe, `options.overrides`
holds the arguments `--key.path=value` for these sections.
"""

from __future__ import annotations

import os
import sys

from genmods.core.errors import UserError, nearest
from genmods.core.printable import say
from genmods.core.system import system_error

COMMANDS = {
    "fit": ("fit", "train the model of a recipe"),
    "sweep": ("sweep", "train a recipe with the settings of a grid, or with random ones"),
    "find_lr": ("find_lr", "a learning rate for a recipe, by a range test"),
    "validate": ("fit", "evaluate a checkpoint on the validation data"),
    "test": ("fit", "evaluate a checkpoint on the test data"),
    "predict": ("fit", "write the predictions of a checkpoint for the test data"),
    "generate": ("generate", "sample images from a checkpoint: PNG files, a grid, an array"),
    "export": ("export", "export a trained model as one safetensors file"),
    "average": ("average", "average the weights of a run over its training, or of several runs"),
    "classify": ("classify", "predict classes, labels or numbers of image files, as CSV"),
    "interpolate": ("interpolate", "images between two images, by a diffusion checkpoint"),
    "vary": ("vary", "variations of image files: noise is added and removed again (SDEdit)"),
    "invert": ("invert", "latents of image files by the probability flow or DDIM, with the round trip error"),
    "likelihood": ("likelihood", "bits per dimension of image files, with a map of the bits of each pixel"),
    "denoise": ("denoise", "denoise image files with a diffusion checkpoint"),
    "inpaint": ("inpaint", "inpaint image files with a diffusion checkpoint"),
    "restore": ("restore", "undo blur, down-sampling and other linear operators with a diffusion checkpoint"),
    "look": ("look", "plot feature maps, filters and Grad-CAM of a network for image files, or training images"),
    "draw": ("draw", "draw the architecture of a recipe's networks, as SVG"),
    "evaluate": ("evaluate", "compute metrics of a checkpoint: FID, precision, bits per dimension, neighbours ..."),
    "play": ("play", "trained models in the browser: draw, denoise, inpaint, generate, interpolate, compare"),
    "report": ("report", "write the report page of a run, or a comparison of several"),
    "runs": ("runs", "list the run folders, with their main metrics"),
    "list": ("list", "list the registered parts, by kind"),
    "show": ("show", "show a part: its settings, their types and defaults, a snippet for a recipe"),
    "check": ("check", "validate a recipe without running it"),
    "cache": ("cache", "show or clear the cache folder: decoded images, statistics, downloaded data sets"),
    "recipes": ("recipes", "list the recipes shipped with genmods"),
    "schema": ("schema", "print a JSON Schema of recipes for editors"),
}
"""Subcommand -> (its module in this package, a one-line summary)."""

GROUPS = {
    "training": ("fit", "sweep", "find_lr", "validate", "test", "predict"),
    "new and restored images": ("generate", "interpolate", "vary", "denoise", "inpaint", "restore"),
    "properties of images": ("classify", "likelihood", "invert", "look"),
    "runs and models": ("evaluate", "report", "runs", "average", "export", "draw", "play", "cache"),
    "recipes and parts": ("recipes", "check", "list", "show", "schema"),
}
"""The commands by purpose, as `--help` lists them."""


def usage() -> str:
    """The text of `--help`."""
    groups: list[str] = []
    for title, names in GROUPS.items():
        groups += [f"{title}:", *(f"  {name:<11} {COMMANDS[name][1]}" for name in names), ""]
    return "\n".join(
        [
            "usage: genmods COMMAND [OPTIONS] [--KEY.PATH=VALUE ...]",
            "",
            *groups,
            "`genmods COMMAND --help` lists its options; `--import FILE.py` loads a file with @register-ed parts.",
        ]
    )


def dispatch(arguments: list[str]) -> int:
    """Run a command line and return its exit status; a user error prints one line on stderr and returns 2."""
    try:
        return _dispatch(arguments)
    except UserError as error:
        say(*str(error).split("\n"), file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, KeyboardInterrupt):
            raise  # Lightning handles Ctrl-C with sys.exit(1)
        reason = str(stop) if isinstance(stop, KeyboardInterrupt) else ""
        say(f"interrupted {reason}".rstrip(), file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `genmods list | head`
        sys.stderr.close()
        return 141
    except (OSError, MemoryError, RuntimeError, ImportError, SystemError) as error:
        line = system_error(error)
        if line is None:
            raise
        say(line, file=sys.stderr)
        return 2


def _dispatch(arguments: list[str]) -> int:
    if "_ARGCOMPLETE" in os.environ:
        from genmods.cli.completion import complete

        complete(COMMANDS)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(*usage().splitlines())
        return 0
    if arguments == ["--version"]:
        from genmods import __version__

        say(__version__)
        return 0
    if arguments[0].startswith("-"):  # options may precede the command
        command = next((argument for argument in arguments if argument in COMMANDS), arguments[0])
        arguments = [command, *(argument for argument in arguments if argument is not command)]
    command, *rest = arguments
    if command not in COMMANDS:
        raise UserError(f"genmods: unknown command '{command}'{nearest(command, COMMANDS)}")
    from genmods.cli.parser import execute

    execute(command, *COMMANDS[command], rest)
    return 0
