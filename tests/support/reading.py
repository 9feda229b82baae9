"""The package read as source: its modules, what they import, its public classes and functions and their docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import genmods

ROOT = Path(genmods.__file__).parent
FILES = {
    ".".join(["genmods", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def package(module: str) -> str:
    """The package or module of the root that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def place(module: str, line: int) -> str:
    """`file:line`, the file from the package's root."""
    return f"{os.path.relpath(FILES[module], ROOT)}:{line}"


def imported(module: str) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every module that a module imports, at the top or inside a function.

    Not those that a package imports `if TYPE_CHECKING`: its public names, which are imported when they are used.
    """
    body = tree(module).body
    if FILES[module].name == "__init__.py":
        body = [node for node in body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    for node in (inner for outer in body for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{place(module, node.lineno)}: a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in FILES else str(node.module)


def imported_from_genmods(module: str) -> list[tuple[int, str]]:
    """Line and name of the modules of genmods that a module imports."""
    return [(line, name) for line, name in imported(module) if name.partition(".")[0] == "genmods"]


@dataclass
class Class:
    """A class of the package; `bases` are its bases there by name, `others` what it inherits from elsewhere."""

    module: str
    node: ast.ClassDef
    bases: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def doc(self) -> str:
        return ast.get_docstring(self.node) or ""

    def methods(self) -> dict[str, Function]:
        return {node.name: node for node in self.node.body if isinstance(node, Function)}

    def members(self) -> set[str]:
        """Names of its methods and fields, those that methods set on `self` too."""
        targets = [node.target for node in self.node.body if isinstance(node, ast.AnnAssign)]
        targets += [one for node in ast.walk(self.node) if isinstance(node, ast.Assign) for one in node.targets]
        targets = [part for one in targets for part in (one.elts if isinstance(one, ast.Tuple) else [one])]
        names = (getattr(one, "id", None) or getattr(one, "attr", "") for one in targets)
        return {*self.methods(), *names}


@cache
def classes() -> dict[str, Class]:
    """The classes at the top of modules, by `module.Name`."""
    found = {f"{module}.{node.name}": Class(module, node) for module in FILES for node in tops(module, ast.ClassDef)}
    for one in found.values():
        for base in filter(None, map(dotted, one.node.bases)):
            name = resolved(one.module, base)
            (one.bases if name in found else one.others).append(name)
    return found


def tops(module: str, kind: type) -> list:
    return [node for node in tree(module).body if isinstance(node, kind)]


def dotted(node: ast.expr) -> str | None:
    """`a.b.C` of an expression, without its subscripts; None if it is not a name."""
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return head and f"{head}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else None


@cache
def names(module: str) -> dict[str, str]:
    """What the names that a module imports stand for, and its own classes."""
    found = {node.name: f"{module}.{node.name}" for node in tops(module, ast.ClassDef)}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def resolved(module: str, name: str) -> str:
    """The absolute name of what `name` is in a module, followed through packages that pass it on."""
    head, _, rest = name.partition(".")
    full = names(module).get(head, head) + (f".{rest}" if rest else "")
    owner, _, last = full.rpartition(".")
    return resolved(owner, last) if owner in FILES and last in names(owner) and f"{owner}.{last}" != full else full


def ancestors(name: str) -> list[Class]:
    """A class and those of the package that it derives from."""
    one = classes()[name]
    return [one, *(found for base in one.bases for found in ancestors(base))]


@cache
def outside(name: str) -> object | None:
    """A class of another package; None where it cannot be imported."""
    owner, _, last = name.rpartition(".")
    try:
        return getattr(importlib.import_module(owner or "builtins"), last, None)
    except ImportError:
        return None


def implemented(name: str) -> list[Class]:
    """The protocols of the package whose members the class `name` all has."""
    members = {member for one in ancestors(name) for member in one.members()}
    protocols = [one for one in classes().values() if "typing.Protocol" in one.others]
    return [one for one in protocols if one.members() <= members]


def documentation(name: str, method: Function) -> str:
    """The docstring of a method of the class `name`, else of what it overrides here or elsewhere, or implements."""
    line = [*ancestors(name), *implemented(name)]
    own = [ast.get_docstring(one.methods()[method.name]) for one in line if method.name in one.methods()]
    if first := next(filter(None, own), None):
        return first
    overridden = (getattr(outside(other), method.name, None) for one in line for other in one.others)
    return next(filter(None, (inspect.getdoc(function) for function in overridden if function is not None)), "")


def public_functions() -> Iterator[tuple[str, str | None, Function]]:
    """Module, class (`module.Name`, or None) and node of every public function, and public method of a public class."""
    for module in FILES:
        yield from ((module, None, node) for node in tops(module, Function) if is_public(node.name))
    for name, one in classes().items():
        if is_public(one.node.name):
            yield from ((one.module, name, node) for node in one.methods().values() if is_public(node.name))


def parameters(node: Function) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"
