"""Completion of command lines by shells, by the package argcomplete: commands, options, recipes, parts and runs.

It is switched on in bash and zsh by `eval "$(register-python-argcomplete genmods)"`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Commands = Mapping[str, tuple[str, str]]
"""The module of each command, and its summary."""


def complete(commands: Commands) -> None:
    """Print the completions of the command line in argcomplete's environment variables, and exit."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(whole_parser(commands))


def whole_parser(commands: Commands) -> argparse.ArgumentParser:
    """The parser of all `commands`, with completers of their arguments."""
    parser = argparse.ArgumentParser(prog="genmods")
    parsers = parser.add_subparsers(dest="command")
    for name, (module, summary) in commands.items():
        command = parsers.add_parser(name, help=summary)
        import_module(f"genmods.cli.{module}").arguments(command)
        for action in command._actions:
            if completer := _COMPLETERS.get(action.dest):
                action.completer = completer  # type: ignore[attr-defined]
    return parser


def _recipes(prefix: str, **_: Any) -> list[str]:
    from argcomplete.completers import FilesCompleter

    from genmods.config.shipped import shipped

    return [*shipped(), *FilesCompleter(("yaml", "yml"))(prefix)]


def _runs(prefix: str, **_: Any) -> list[str]:
    from argcomplete.completers import FilesCompleter

    return ["last", *FilesCompleter()(prefix)]


def _kinds(prefix: str, **_: Any) -> list[str]:
    from genmods.config.builtins import KINDS

    return list(KINDS)


def _names(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from genmods.config import registry
    from genmods.config.builtins import KINDS

    return registry.names(parsed_args.kind) if parsed_args.kind in KINDS else []


_COMPLETERS: dict[str, Callable[..., list[str]]] = {
    "config": _recipes,
    "recipe": _recipes,
    "ckpt_path": _runs,
    "kind": _kinds,
    "name": _names,
}
"""Argument -> its possible values."""
