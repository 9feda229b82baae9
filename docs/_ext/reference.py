"""Writes the reference: a page per public package, per kind of registered part, and one of the command line."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from pathlib import Path
from types import GenericAlias, ModuleType

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
    "genmods.data.augmentation",
    "genmods.metrics",
    "genmods.optim",
    "genmods.tasks",
    "genmods.callbacks",
    "genmods.runs",
    "genmods.visual",
)


def pages() -> dict[str, str]:
    """The text of each generated page by its path below docs/reference."""
    from genmods.config.builtins import BUILTINS

    api = {f"api/{name}.md": api_page(name) for name in PACKAGES if public(name)}
    parts = {f"parts/{kind}.md": kind_page(kind) for kind, names in BUILTINS.items() if names}
    return api | parts | {"cli.md": command_line()}


def public(package: str) -> list[str]:
    """The names that a package exports, without its packages."""
    module = importlib.import_module(package)
    return sorted(name for name in getattr(module, "__all__", []) if not isinstance(getattr(module, name), ModuleType))


def api_page(package: str) -> str:
    """The documentation of all names that a package exports."""
    module = importlib.import_module(package)
    entries = (entry(package, name, getattr(module, name)) for name in public(package) if not name.startswith("__"))
    return "\n\n".join([f"# {package}", (module.__doc__ or "").strip(), *entries]) + "\n"


def entry(package: str, name: str, value: object) -> str:
    """The section of a public name."""
    if isinstance(value, GenericAlias):
        return f"## {name}\n\n`{value}`"
    kind = "class" if isinstance(value, type) else "function" if callable(value) else "data"
    options = [":members:"] if kind == "class" else []
    if fields := getattr(value, "_fields", ()):  # a named tuple documents them in its signature
        options.append(f":exclude-members: {', '.join(fields)}")
    if home(value) not in (package, None):
        options.append(":no-index:")
    directive = [f".. auto{kind}:: {package}.{name}", *(f"   {option}" for option in options)]
    return "\n".join([f"## {name}", "", "```{eval-rst}", *directive, "```"])


def home(value: object) -> str | None:
    """The first package that exports an object, whose page the index names."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        if any(getattr(module, name, None) is value for name in public(package)):
            return package
    return None


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


def write(app: Sphinx) -> None:
    """Write all pages, leaving those that have not changed as they are."""
    folder = Path(app.srcdir) / "reference"
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def inherited_from_elsewhere(
    app: Sphinx, what: str, name: str, value: object, skip: bool, options: object
) -> bool | None:
    """Leave out methods whose documentation is that of another package, such as `forward` of `nn.Module`."""
    owner = getattr(value, "__qualname__", "").rpartition(".")[0]
    home = sys.modules.get(getattr(value, "__module__", None) or "")
    for part in owner.split("."):
        home = getattr(home, part, None)
    if not callable(value) or value.__doc__ or not isinstance(home, type):
        return None
    documented = [base for base in home.__mro__ if getattr(vars(base).get(name), "__doc__", None)]
    return True if documented and not documented[0].__module__.startswith("genmods") else None


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", write)
    app.connect("autodoc-skip-member", inherited_from_elsewhere)
    return {"parallel_read_safe": True}
