"""The recipes shipped with genmods: `recipes/` of a checkout, `genmods/shipped_recipes` of a wheel."""

from __future__ import annotations

from pathlib import Path

from genmods.config.text import RecipeError
from genmods.core.errors import nearest

_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """The folder of the shipped recipes."""
    inside = _PACKAGE / "shipped_recipes"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "recipes"


def shipped() -> dict[str, Path]:
    """The shipped recipes by name (`ddpm`, `fashion_mnist/cnn`)."""
    root = folder()
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}


def locate(source: str | Path) -> tuple[Path, str]:
    """The file of a path or a shipped recipe's name, and the recipe's name; raises RecipeError."""
    path = Path(source)
    known = shipped()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # a name that is too long, no permission
        raise RecipeError(str(path), "", f"cannot be read: {error.strerror}") from error
    if not exists and str(source) in known:
        return known[str(source)], str(source).replace("/", "-")
    if is_folder:
        raise RecipeError(str(path), "", "is a folder, not a recipe")
    if not exists:
        hint = nearest(path.with_suffix("").as_posix().removeprefix("recipes/"), known)
        raise RecipeError(str(path), "", f"no such file or shipped recipe{hint}")
    inner = path.with_suffix("").parts
    if "recipes" in inner[:-1]:
        return path, "-".join(inner[len(inner) - inner[::-1].index("recipes") :])
    return path, path.stem
