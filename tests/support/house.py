"""The house in numbers: what the package is to have none of, found in its source.

Each count is a function that returns the offenders, `file:line: what`. `python tests/support/house.py` prints how many
there are, and with the words of a count's name those of it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.reading import (
    FILES,
    ROOT,
    Function,
    ancestors,
    classes,
    documentation,
    imported_from_genmods,
    is_public,
    package,
    parameters,
    place,
    public_functions,
    tree,
)

OPTION = re.compile(r"(?<![\w-])--[a-z]")
SHAPE = re.compile(r"\[[^\[\]]*([A-Za-z]|\.\.\.)[^\[\]]*\]|\[\]|\bshape\b|\bscalar\b")
MESSAGES = {"print", "warn", "warning", "info", "error", "rank_zero_warn", "rank_zero_info", "write"}


def task_names() -> list[str]:
    """Classes of tasks, other than the base of all, that a module outside of `tasks` names."""
    base = classes()["genmods.tasks.base.Task"]
    kinds = {one.node.name for name, one in classes().items() if base in ancestors(name)[1:]}
    found = {}
    for module in (module for module in FILES if package(module) != "tasks"):
        for node in ast.walk(tree(module)):
            for name in kinds & set(said_by(node)):
                found[module, getattr(node, "lineno", 0), name] = f"{place(module, node.lineno)}: {name}"
    return list(found.values())


def said_by(node: ast.AST) -> list[str]:
    """The names that a node itself has."""
    if isinstance(node, ast.ImportFrom):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    return [getattr(node, "id", None) or getattr(node, "attr", "")]


def denoiser_beside_process() -> list[str]:
    """Functions, and classes with fields, that take a denoiser and a process, which the denoiser has."""
    found = []
    for module in FILES:
        for node in ast.walk(tree(module)):
            if {kind_of(name, hint) for name, hint in settings(node)} >= {"denoiser", "process"}:
                found.append(f"{place(module, node.lineno)}: {node.name}")
    return found


def settings(node: ast.AST) -> list[tuple[str, ast.expr | None]]:
    """The parameters of a function, or the fields of a dataclass, by name and hint."""
    if isinstance(node, Function):
        return [(one.arg, one.annotation) for one in parameters(node)]
    if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        return [(ast.unparse(part.target), part.annotation) for part in node.body if isinstance(part, ast.AnnAssign)]
    return []


def kind_of(name: str, hint: ast.expr | None) -> str | None:
    """What a parameter is by its name or its type."""
    words = set(re.findall(r"\w+", ast.unparse(hint))) if hint else set()
    if name in ("denoise", "denoiser") or words & {"Denoise", "Denoiser"}:
        return "denoiser"
    return "process" if name == "process" or "NoiseProcess" in words else None


def modules_in_the_root() -> list[str]:
    """Modules beside `__init__` and `__main__`."""
    paths = sorted(path for path in ROOT.glob("*.py") if path.stem not in ("__init__", "__main__"))
    return [f"{path.name}:1: a module in the root" for path in paths]


def import_circles() -> list[str]:
    """The first circle of imports, those inside of functions and within a floor too."""
    try:
        TopologicalSorter({module: {name for _, name in imported_from_genmods(module)} for module in FILES}).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        return [f"{place(circle[0], 1)}: {' -> '.join(circle)}"]
    return []


def options_in_messages() -> list[str]:
    """Messages outside of the command line that name one of its options."""
    found = {}
    for module in (module for module in FILES if package(module) not in ("cli", "__main__")):
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and is_message(node)):
                for text in texts(node):
                    found[module, text.lineno, text.value] = f"{place(module, text.lineno)}: {text.value.strip()}"
    return list(found.values())


def is_message(node: ast.Call) -> bool:
    name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
    return name in MESSAGES or name.endswith(("Error", "Warning"))


def texts(node: ast.AST) -> Iterator[ast.Constant]:
    """The text literals below a node that name an option."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str) and OPTION.search(inner.value):
            yield inner


def plurals() -> list[str]:
    """Numbers of items beside a plural noun, which are wrong for 1, instead of `core.printable.counted`."""
    found = []
    for module in FILES:
        for node in (node for node in ast.walk(tree(module)) if isinstance(node, ast.JoinedStr)):
            for number, text in zip(node.values, node.values[1:], strict=False):
                if isinstance(number, ast.FormattedValue) and is_length(number.value):
                    noun = re.match(r" (?!(?:is|was|has|as)\b)([a-z]+s)\b", str(getattr(text, "value", "")))
                    found += [f"{place(module, node.lineno)}: {noun[1]}"] if noun else []
    return found


def is_length(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("len", "sum")


def bare_prints() -> list[str]:
    """Calls of `print` other than that of `core.printable.say`, which shows control characters as escapes."""
    found = []
    for module in (module for module in FILES if module != "genmods.core.printable"):
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Name) and node.id == "print":
                found.append(f"{place(module, node.lineno)}: print")
    return found


def without_a_docstring() -> list[str]:
    """Public modules, classes and functions.

    An override has the docstring of what it overrides, the two functions of a command that of its module.
    """
    found = [f"{place(module, 1)}: the module" for module in FILES if ast.get_docstring(tree(module)) is None]
    for one in classes().values():
        if is_public(one.node.name) and not one.doc:
            found.append(f"{place(one.module, one.node.lineno)}: {one.node.name}")
    for module, name, node in public_functions():
        said = documentation(name, node) if name else ast.get_docstring(node)
        is_command = package(module) == "cli" and node.name in ("arguments", "run")
        if not said and not is_command and node.name != "__call__":
            found.append(f"{place(module, node.lineno)}: {titled(name, node)}")
    return found


def without_a_shape() -> list[str]:
    """Public callables that take or return tensors, and neither whose docstring nor whose class gives a shape."""
    found = []
    for module, name, node in public_functions():
        if is_property(node) or not takes_or_returns_tensors(node):
            continue
        said = [documentation(name, node), *(one.doc for one in ancestors(name))] if name else []
        if not any(SHAPE.search(text) for text in [ast.get_docstring(node) or "", *said]):
            found.append(f"{place(module, node.lineno)}: {titled(name, node)}")
    return found


def titled(name: str | None, node: Function) -> str:
    return f"{name.rpartition('.')[2]}.{node.name}" if name else node.name


def is_property(node: Function) -> bool:
    return any(ast.unparse(decorator) in ("property", "cached_property") for decorator in node.decorator_list)


def takes_or_returns_tensors(node: Function) -> bool:
    hints = [hint for hint in (node.returns, *(one.annotation for one in parameters(node))) if hint]
    return any("Tensor" in re.findall(r"\w+", ast.unparse(hint)) for hint in hints)


COUNTS: dict[str, Callable[[], list[str]]] = {
    "task classes named outside tasks": task_names,
    "signatures with a denoiser and a process": denoiser_beside_process,
    "modules in the root beside __init__ and __main__": modules_in_the_root,
    "import circles": import_circles,
    "library messages that name an option": options_in_messages,
    "numbers beside a plural": plurals,
    "prints of text as it is": bare_prints,
    "public names without a docstring": without_a_docstring,
    "public callables of tensors without a shape": without_a_shape,
}


def main() -> None:
    wanted = " ".join(sys.argv[1:])
    for name, count in COUNTS.items():
        offenders = count()
        print(f"{len(offenders):5d}  {name}")
        if wanted and wanted in name:
            print(*(f"       {offender}" for offender in offenders), sep="\n")


if __name__ == "__main__":
    main()
