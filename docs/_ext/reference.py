"""Writes the reference: a page per public package, per kind of registered part, and one of the command line."""

from __future__ import annotations

import contextlib
import importlib
import io
from pathlib import Path

from sphinx.application import Sphinx

PACKAGES = (
    "genmods",
    "genmods.diffusion",
    "genmods.diffusion.conditioning",
    "genmods.networks",
    "genmods.models",
    "genmods.restoration",
    "genmods.restoration.operators",
    "genmods.restoration.methods",
    "genmods.data",
    "genmods.metrics",
    "genmods.optim",
    "genmods.tasks",
)


def pages() -> dict[str, str]:
    """The text of each generated page by its path below docs/reference."""
    from genmods.config.builtins import BUILTINS

    api = {f"api/{name}.md": api_page(name) for name in PACKAGES if public(name)}
    parts = {f"parts/{kind}.md": kind_page(kind) for kind, names in BUILTINS.items() if names}
    return api | parts | {"cli.md": command_line()}


def public(package: str) -> list[str]:
    """The names that a package exports."""
    return sorted(getattr(importlib.import_module(package), "__all__", []))


def api_page(package: str) -> str:
    """The documentation of all names that a package exports."""
    module = importlib.import_module(package)
    lines = [f"# {package}", "", (module.__doc__ or "").strip(), ""]
    for name in public(package):
        if name.startswith("__"):
            continue
        value = getattr(module, name)
        kind = "class" if isinstance(value, type) else "function" if callable(value) else "data"
        options = "\n:members:\n" if kind == "class" else "\n"
        lines += [f"## {name}", "", f"```{{eval-rst}}\n.. auto{kind}:: {package}.{name}{_indented(options)}```", ""]
    return "\n".join(lines)


def kind_page(kind: str) -> str:
    """Every registered part of a kind, as `genmods show` prints it."""
    from genmods.config.builtins import BUILTINS

    lines = [f"# {kind}", "", f"Registered parts of the kind `{kind}`: `genmods list {kind}`.", ""]
    for name in sorted(BUILTINS[kind]):
        lines += [f"## {name}", "", "```text", printed("show", kind, name).strip(), "```", ""]
    return "\n".join(lines)


def command_line() -> str:
    """The help of every command."""
    from genmods.cli import COMMANDS

    lines = ["# Command line", "", "```text", printed("--help").strip(), "```", ""]
    for command in COMMANDS:
        lines += [f"## genmods {command}", "", "```text", printed(command, "--help").strip(), "```", ""]
    return "\n".join(lines)


def printed(*arguments: str) -> str:
    """What a command prints."""
    from genmods.cli import dispatch

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        dispatch(list(arguments))
    return out.getvalue()


def _indented(options: str) -> str:
    return "".join(f"\n   {line}" if line else "" for line in options.splitlines()) + "\n"


def write(app: Sphinx) -> None:
    """Write all pages, leaving those that have not changed as they are."""
    folder = Path(app.srcdir) / "reference"
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
