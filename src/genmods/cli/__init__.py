"""The command line: one file a subcommand, imported when it is called.

A subcommand's module has `arguments(parser)`, which declares its options, and `run(options)`, which does the work; it
finds its name in `options.command` and, where `OVERRIDES` names sections of a recipe, `--key.path=value` of these in
`options.overrides`.
"""

from __future__ import annotations

import sys

from genmods.core.errors import UserError, nearest
from genmods.core.printable import say

COMMANDS = {
    "fit": ("fit", "train the model of a recipe"),
    "validate": ("fit", "the validation figures of a checkpoint"),
    "test": ("fit", "the test figures of a checkpoint"),
    "predict": ("fit", "the predictions of a checkpoint for the test images"),
    "generate": ("generate", "images from a diffusion checkpoint: PNG files, a grid, an array"),
    "export": ("export", "a trained model as one safetensors file"),
    "classify": ("classify", "classes of image files, as CSV"),
    "denoise": ("denoise", "noise removed from image files by a diffusion checkpoint"),
    "inpaint": ("inpaint", "holes in image files filled by a diffusion checkpoint"),
    "restore": ("restore", "blur, down-sampling and other linear operators undone by a diffusion checkpoint"),
    "look": ("look", "what a network sees in image files: feature maps, filters, Grad-CAM"),
    "draw": ("draw", "the architecture of a recipe's networks, as SVG"),
    "evaluate": ("evaluate", "figures of a checkpoint: FID, precision, bits per dimension, neighbours ..."),
    "report": ("report", "the report page of a run, or a comparison of several"),
    "runs": ("runs", "the run folders, with their main figures"),
    "list": ("list", "the parts that a recipe may name, by kind"),
    "show": ("show", "one part: its settings, their types and defaults, a snippet for a recipe"),
    "check": ("check", "judge a recipe without running it"),
    "recipes": ("recipes", "the recipes that come with genmods"),
}
"""Subcommand -> (its module here, what it does in one line)."""


def usage() -> str:
    """The text of `--help`."""
    lines = [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: genmods COMMAND [OPTIONS] [--KEY.PATH=VALUE ...]",
            "",
            "commands:",
            *lines,
            "",
            "`genmods COMMAND --help` tells its options; `--import FILE.py` brings in your own @register-ed parts.",
        ]
    )


def dispatch(arguments: list[str]) -> int:
    """Run one command line and return its exit status; a user's mistake is one line on stderr and status 2."""
    try:
        return _dispatch(arguments)
    except UserError as error:
        say(*str(error).split("\n"), file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop, SystemExit) and not isinstance(stop.__context__, KeyboardInterrupt):
            raise  # Lightning answers Ctrl-C with sys.exit(1)
        say("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of `genmods list | head` has gone
        sys.stderr.close()
        return 141


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(*usage().splitlines())
        return 0
    if arguments == ["--version"]:
        from genmods import __version__

        say(__version__)
        return 0
    if arguments[0].startswith("-"):  # options may stand in front of the command
        command = next((argument for argument in arguments if argument in COMMANDS), arguments[0])
        arguments = [command, *(argument for argument in arguments if argument is not command)]
    command, *rest = arguments
    if command not in COMMANDS:
        raise UserError(f"genmods: there is no command '{command}'{nearest(command, COMMANDS)}")
    from genmods.cli.parser import execute

    execute(command, *COMMANDS[command], rest)
    return 0
