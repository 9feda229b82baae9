"""What a checkpoint or an exported model holds, and the model or the task that comes back from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from genmods.config.build import build
from genmods.config.check import Part, part
from genmods.config.text import marked
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.data.info import DataInfo

if TYPE_CHECKING:
    from genmods.config.recipe import Recipe
    from genmods.tasks.base import Task

SECTIONS = ("name", "seed", "task", "data")
"""The sections of a recipe that say what a model is and what it was trained on."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run, or an exported model, as it was read.

    Args:
        recipe: The resolved recipe as plain data; its task is complete without any earlier run.
        data_info: What the training data said about the model.
        state_dict: The raw weights of the task by name.
        averages: The averaged weights (EMA) by name; empty where none were kept.
        step: Steps of the optimizer taken.
        epoch: Epochs completed.
        precision: The precision that the run computed in.
        data_hash: The hash of the data's images and labels.
        run_ids: The run's id in each of its loggers by the logger's name; an exported model has no loggers.
        content: All that Lightning saved.
    """

    recipe: dict[str, Any]
    data_info: DataInfo
    state_dict: dict[str, Tensor]
    averages: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    precision: str | None = None
    data_hash: str | None = None
    run_ids: dict[str, str | None] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """The checkpoint in a file of `fit` or `export`; raises UserError for another file."""
        if path.suffix == ".safetensors":
            from genmods.core import safetensors

            header, tensors = safetensors.load(path)
            return cls.of({**header, "state_dict": tensors})
        return cls.of(files.load(path))

    @classmethod
    def of(cls, content: dict[str, Any]) -> Checkpoint:
        """The checkpoint with the `content` of a file; raises UserError where `fit` did not write it."""
        if "recipe" not in content:
            raise UserError("the checkpoint holds no recipe; it was not written by `fit`")
        if "data_info" not in content:
            raise UserError("the checkpoint was written by an older version of genmods; train the model again")
        return cls(
            recipe=content["recipe"],
            data_info=DataInfo(**content["data_info"]),
            state_dict=content["state_dict"],
            averages=content["ema"]["weights"][0] if "ema" in content else {},
            step=content.get("global_step", 0),
            epoch=content.get("epoch", 0),
            precision=content.get("precision"),
            data_hash=content.get("data_hash"),
            run_ids=content.get("run_ids", {}),
            content=content,
        )

    @property
    def last_row(self) -> int:
        """The step of the row of metrics that was logged last before it."""
        return max(0, self.step - 1)

    def weights(self, raw: bool = False) -> dict[str, Tensor]:
        """The state dict to use the model with: the averages, where there are any, or the `raw` weights.

        Tensors have the shape that the module of that name has.
        """
        return self.state_dict if raw else {**self.state_dict, **self.averages}

    def parsed(self, *more: str, overrides: Iterable[str] = ()) -> Recipe:
        """The recipe's task and data, and `more` sections of it, changed by `--key=value` overrides.

        How the model was trained is left out, as a rule: it stays usable where a trainer or a logger has changed since.
        Raises RecipeError where this version of genmods does not take the recipe.
        """
        from genmods.config.recipe import from_plain

        return from_plain({section: self.recipe[section] for section in (*SECTIONS, *more)}, overrides)

    @property
    def prefix(self) -> str:
        """The start of the names of the model's weights among those of the task."""
        return "model." if self._part.model else ""

    @property
    def _part(self) -> Part:
        """The task of the recipe; raises RecipeError where this version of genmods does not take it."""
        task = part("task", marked(self.recipe["task"], "checkpoint"), "task")
        assert isinstance(task, Part)
        return task

    def model(self, raw: bool = False) -> Any:
        """The model in eval mode on the CPU, with the averaged weights or the `raw` ones; nothing of its training.

        Raises UserError where the tensors are not those of the model that the recipe builds.
        """
        task = self._part
        return self._built(task.model or task, self.prefix, raw)

    def task(self, raw: bool = False) -> Task:
        """The task around the model, likewise."""
        return self._built(self._part, "", raw)

    def _built(self, part: Part, prefix: str, raw: bool) -> Any:
        from genmods.networks.base import restoring

        weights = self.weights(raw)
        if not any(name.startswith(self.prefix) for name in weights):
            raise UserError("the checkpoint was written by an older version of genmods; train the model again")
        with restoring():
            built = build(part, self.data_info.settings())
        built.load_state_dict(
            {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        )
        return built.eval()
