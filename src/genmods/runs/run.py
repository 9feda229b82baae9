"""Training from Python, and a run as an object."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from genmods.config.recipe import Recipe, from_plain, load
from genmods.core.errors import UserError
from genmods.runs import folders
from genmods.runs.checkpoint import Checkpoint
from genmods.tracking.series import read_series


class Run:
    """A run on disk, as returned by `genmods.fit`.

    Args:
        folder: The run folder.

    Attributes:
        folder: The run folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __fspath__(self) -> str:
        return str(self.folder)

    @cached_property
    def model(self) -> Any:
        """The trained model; see `genmods.load`."""
        return folders.load(self.folder)

    @property
    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Every logged metric by name, as pairs (step, value)."""
        return read_series(self.folder / "metrics.csv")

    @property
    def figures(self) -> dict[str, float]:
        """The last value of each metric of validation and test, by name."""
        return {name: pairs[-1][1] for name, pairs in self.metrics.items() if name.startswith(("val/", "test/"))}

    @property
    def steps(self) -> int:
        """Optimizer steps of the last checkpoint."""
        return Checkpoint.read(folders.find_checkpoint(self.folder, "last")).step

    def sample(self, n: int, condition: Mapping[str, Any] | None = None, **settings: Any) -> Tensor:
        """`n` images [n, C, H, W] in [-1, 1] of the trained model; see `DiffusionModel.sample` for the settings."""
        if not hasattr(self.model, "sample"):
            raise UserError(f"a {type(self.model).__name__} does not generate images")
        return self.model.sample(n, **({} if condition is None else {"condition": condition}), **settings)

    def __repr__(self) -> str:
        figures = [f"{name} {value:.4g}" for name, value in self.figures.items()][:4]
        return f"Run({', '.join([str(self.folder), *figures])})"


def fit(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    ckpt_path: str | Path | Run | None = None,
    quiet: bool = True,
    **sections: Any,
) -> Run:
    """Trains a recipe: `fit("ddpm", trainer={"max_steps": 500})`.

    Works in a notebook, in a thread and within any other program, whose signal handlers it leaves as they are.

    Args:
        recipe: A file, the name of a shipped recipe, or its sections as plain data.
        ckpt_path: The run to resume: its folder, a checkpoint file, or "last" for the newest run of the recipe.
        quiet: Whether to print nothing but warnings; False shows a progress bar in a terminal or a
            notebook.
        sections: Settings that replace those of the recipe, by section, such as `task={"network": {"width": 64}}`.

    Returns:
        The run.

    Raises:
        UserError: If the recipe is invalid, or the run cannot be resumed.
    """
    from genmods.runs.fit import fit as train

    if isinstance(recipe, Recipe | Mapping):
        plain = recipe.plain() if isinstance(recipe, Recipe) else recipe
        checked = from_plain(plain, source="recipe", settings=sections, saved=False)
    else:
        checked = load(recipe, settings=sections)
    at = None if ckpt_path is None else str(ckpt_path.folder if isinstance(ckpt_path, Run) else ckpt_path)
    return Run(train(checked, at, quiet, handle_signals=False))
