"""Parses the options of a subcommand with argparse; an error is one line that suggests the nearest option."""

from __future__ import annotations

import argparse
import re
from contextlib import nullcontext
from importlib import import_module
from typing import NoReturn

from genmods.config import registry
from genmods.config.builtins import SECTIONS
from genmods.core.errors import UserError, nearest


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError instead of printing its usage and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")


def execute(command: str, module_name: str, summary: str, arguments: list[str]) -> None:
    """Run a subcommand of `genmods.cli`."""
    module = import_module(f"genmods.cli.{module_name}")
    parser = Parser(prog=f"genmods {command}", description=summary, allow_abbrev=False)
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="FILE.py",
        help="a Python file that registers parts",
    )
    parser.add_argument("--no-plugins", action="store_true", help="ignore the parts of other distributions")
    module.arguments(parser)
    overrides: tuple[str, ...] = getattr(module, "OVERRIDES", ())
    if overrides:
        parser.epilog = f"Override values of the recipe's {', '.join(overrides)} with --KEY.PATH=VALUE."
    options, extra = parser.parse_known_args(arguments)
    if extra:
        check_overrides(parser, extra, overrides)
    options.command, options.overrides = command, extra
    registry.guard_entry_points()
    with registry.without_plugins() if options.no_plugins else nullcontext():
        for path in options.imports:
            try:
                registry.import_file(path)
            except UserError as error:
                raise UserError(f"--import: {error}") from error
        module.run(options)


def check_overrides(parser: Parser, extra: list[str], overrides: tuple[str, ...]) -> None:
    """Raise UserError at the first argument that is neither an option nor a value in the sections `overrides`."""

    known = [option for action in parser._actions for option in action.option_strings]
    sections = [f"--{section}" for section in overrides]
    for argument in extra:
        name = argument.partition("=")[0]
        elsewhere = name[2:].split(".")[0] in set(SECTIONS) - set(overrides)
        if not overrides or elsewhere or (re.fullmatch(r"--[^.]+", name) and name not in sections):
            raise UserError(f"{parser.prog}: unknown option '{name}'{nearest(name, [*known, *sections])}")
