"""The content of a checkpoint or an exported model, and the model or task built from it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from genmods.config.build import build
from genmods.config.check import part
from genmods.config.parts import Part
from genmods.config.text import with_marks
from genmods.config.variables import read_saved
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.core.memory import weights_of
from genmods.core.plain import check_finite, not_finite
from genmods.data.info import DataInfo
from genmods.data.preparation import Preparation
from genmods.runs.config_file import check_config
from genmods.runs.schema import SECTIONS, check_content

if TYPE_CHECKING:
    from genmods.config.recipe import Recipe
    from genmods.tasks.base import Task


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run, or an exported model.

    Args:
        recipe: The resolved recipe as plain data; its task does not depend on earlier runs.
        data_info: The facts of the training data.
        state_dict: Raw weights of the task by name.
        preparation: How image files were prepared; None for other data.
        averages: Averaged weights (EMA) by name; empty without EMA.
        step: Number of optimizer steps.
        epoch: Number of completed epochs.
        precision: Precision of the run.
        data_hash: Hash of the data's images and labels.
        figures: The `values` of the last validation by name, and its `step`.
        run_ids: The run's id in each of its loggers, by logger name; empty for an exported model.
        split_sizes: Number of samples of each split of the data.
        content: Everything that Lightning saved.
        source: The file, for messages.
    """

    recipe: dict[str, Any]
    data_info: DataInfo
    state_dict: dict[str, Tensor]
    preparation: Preparation | None = None
    averages: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    epoch: int = 0
    precision: str | None = None
    data_hash: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    run_ids: dict[str, str | None] = field(default_factory=dict)
    split_sizes: dict[str, int] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    source: str = "checkpoint"

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint or an exported model; raises UserError for any other file."""
        return _ahead.pop(_state(path), None) or cls._read(path)

    @classmethod
    def read_ahead(cls, path: Path) -> Checkpoint:
        """Like `read`; the next `read` of the unchanged file returns this result instead of reading it again."""
        found = cls.read(path)
        _ahead.clear()
        _ahead[_state(path)] = found
        return found

    @classmethod
    def _read(cls, path: Path) -> Checkpoint:
        if path.suffix == ".safetensors":
            from genmods.core import safetensors

            header, tensors = safetensors.load(path)
            check_config(path, header)
            content = {**header, "state_dict": tensors}
        else:
            content = files.load(path)
        try:
            return replace(cls.of(content), source=str(path))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    @classmethod
    def of(cls, content: dict[str, Any]) -> Checkpoint:
        """The checkpoint with the `content` of a file; raises UserError if it was not written by `fit`."""
        check_content(content)
        try:
            data_info = DataInfo(**content["data_info"])
        except ValueError as error:
            raise UserError(f"data_info: {error}") from None
        weights = ("state_dict", "ema")  # checked together with their model
        for name, _ in not_finite({key: value for key, value in content.items() if key not in weights}):
            raise UserError(f"{name} is not finite; take an earlier checkpoint")
        return cls(
            recipe=content["recipe"],
            data_info=data_info,
            state_dict=content["state_dict"],
            preparation=Preparation.of(content["preparation"]) if content["preparation"] else None,
            averages=content["ema"]["weights"][0] if "ema" in content else {},
            step=content.get("global_step", 0),
            epoch=content.get("epoch", 0),
            precision=content.get("precision"),
            data_hash=content.get("data_hash"),
            figures=content.get("figures", {}),
            run_ids=content.get("run_ids", {}),
            split_sizes=content.get("split_sizes", {}),
            content=content,
        )

    @property
    def last_row(self) -> int:
        """The step of the last row of metrics logged before the checkpoint."""
        return max(0, self.step - 1)

    def weights(self, raw: bool = False) -> dict[str, Tensor]:
        """The state dict for using the model: averaged weights, if there are any, or the `raw` ones.

        Tensors have the shapes [...] of the parameters.
        """
        return self.state_dict if raw else {**self.state_dict, **self.averages}

    def parsed(self, *more: str, overrides: Iterable[str] = ()) -> Recipe:
        """The recipe's task and data, and `more` sections of it, with `--key=value` overrides.

        Sections on training are excluded by default, so that the model remains usable if trainer or logger settings
        have changed. Raises RecipeError if this version of genmods does not support the recipe, and UserError if it has
        no such section, as that of an export.
        """
        from genmods.config.recipe import from_plain

        for section in more:
            if section not in self.recipe:
                raise UserError(f"{self.source}: has no recipe.{section}, so that training cannot be resumed")
        return from_plain({section: self.recipe[section] for section in (*SECTIONS, *more)}, overrides, self.source)

    @property
    def prefix(self) -> str:
        """The prefix of the model's weights in the task's state dict."""
        return "model." if self._part.model else ""

    @property
    def _part(self) -> Part:
        """The task of the recipe; raises RecipeError if this version of genmods does not support it."""
        node = with_marks(self.recipe["task"], self.source)
        read_saved(node)
        task = part("task", node, "task")
        if not isinstance(task, Part):
            raise UserError(f"{self.source}: its task refers to another run; such files are not written by `fit`")
        return task

    def model(self, raw: bool = False) -> Any:
        """The model in eval mode on the CPU, with the averaged weights or the `raw` ones, without its task.

        Raises UserError if the weights do not fit the model of the recipe.
        """
        task = self._part
        return self._built(task.model or task, self.prefix, raw)

    def task(self, raw: bool = False, **provided: Any) -> Task:
        """The task with its model, see `model`; `provided` as for `build`."""
        return self._built(self._part, "", raw, **provided)

    def _built(self, part: Part, prefix: str, raw: bool, **provided: Any) -> Any:
        from genmods.models import model_of
        from genmods.networks.base import building_for_checkpoint

        weights, model = self.weights(raw), self.prefix
        with building_for_checkpoint(), weights_of(weights.values()):
            built = build(part, self.data_info.settings(), **provided)
        try:
            if not any(name.startswith(model) for name in weights):
                raise UserError("written by an older version of genmods; train the model again")
            own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            check_finite(built, own)
            built.load_state_dict(own)
        except UserError as error:
            raise UserError(f"{self.source}: {error}") from None
        model_of(built).columns = self.data_info.columns
        model_of(built).preparation = self.preparation
        return built.eval()


_ahead: dict[tuple[str, int, int], Checkpoint] = {}
"""The last checkpoint that `read_ahead` read, with the state of its file."""


def _state(path: Path) -> tuple[str, int, int]:
    """The properties that change when a file is rewritten: path, size and time."""
    try:
        status = os.stat(path)
    except OSError:
        return str(path), -1, -1
    return str(path), status.st_size, status.st_mtime_ns
