"""The base of all models: networks with everything required to use them, without a trainer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from genmods.core.batch import Batch
from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.core.printable import counted
from genmods.core.progress import Progress
from genmods.core.settings import Validated
from genmods.data.preparation import Preparation
from genmods.networks.base import outermost_networks


class Inspection(NamedTuple):
    """A network, its `inputs` for one image, and the image [C, H, W] to show with the feature maps."""

    network: nn.Module
    inputs: tuple[Any, ...]
    shown: Tensor


class Model(Validated, nn.Module):
    """The object that a task trains and that `genmods.load` returns.

    Its abilities are declared by its methods, see `genmods.models.abilities`. Its constructor takes flat settings,
    which a recipe sets together with those of the task.
    """

    class_names: list[str] = []
    columns: tuple[str, ...] = ("image", "class")
    """Column names of the image and its class in tables of predictions, as in the training data; then the separator of
    several labels in a column."""
    predicts: LabelKind = "none"
    """The predictions of a model that `Predicts`: "class" probabilities, those of "multilabel" labels, or "numbers"."""
    uses_classes: bool = False
    """Whether the model predicts classes or is conditioned on them."""
    image_shape: tuple[int, int, int] | None = None
    """Shape [C, H, W] of the input or output images; None for other data."""
    preparation: Preparation | None = None
    """The preparation of image files for a trained model; None before training and for other data."""

    not_taken: ClassVar[tuple[str, ...]] = ()
    """Settings that a task may replace when its model comes `from` an earlier run."""

    @classmethod
    def facts_of_parts(cls, facts: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The properties of the data for the parts in this class's settings, `given` as in the recipe."""
        return facts

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        tensors = (*self.parameters(), *self.buffers())
        return tensors[0].device if tensors else torch.device("cpu")

    def fit_statistics(self, batch: Batch) -> None:
        """Fit data statistics (whitening, latent scale) to a random batch before the first training step."""

    def example_inputs(self, name: str) -> tuple[Any, ...]:
        """Example arguments of the network in the setting `name` for one image (tensors [1, ...]), on the meta device.

        Raises UserError for a model without `image_shape`.
        """
        if self.image_shape is None:
            raise UserError(f"{type(self).__name__} has no example inputs of its {name}")
        return (torch.empty(1, *self.image_shape, device="meta"),)

    def __repr__(self) -> str:
        networks = ", ".join(type(network).__name__ for network in outermost_networks(self)) or "no network"
        about = [networks, counted(sum(parameter.numel() for parameter in self.parameters()), "parameter")]
        if self.image_shape:
            about.append(f"images {list(self.image_shape)}")
        if self.class_names:
            shown = ", ".join(self.class_names[:4]) + ", ..." * (len(self.class_names) > 4)
            about.append(f"{counted(len(self.class_names), 'class')}: {shown}")
        return f"{type(self).__name__}({'; '.join(about)})"

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load the weights; raises UserError, with the first difference, if they do not fit this model."""
        try:
            return super().load_state_dict(state_dict, *args, **kwargs)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise UserError(f"the checkpoint does not fit this {type(self).__name__}: {first}") from None


def class_number(class_names: Sequence[str], label: int | str) -> int:
    """The number of a class given by number or name; raises UserError if there is no such class."""
    if label in class_names:
        return class_names.index(str(label))
    if re.fullmatch("[0-9]{1,9}", str(label)) and int(label) < len(class_names):
        return int(label)
    raise UserError(f"label {label}: unknown class; choose from {', '.join(class_names) or 'none'}")


def model_of(module: nn.Module) -> Any:
    """The model that a task trains: its `model`, or the task itself if it has none."""
    model = getattr(module, "model", None)
    return model if isinstance(model, Model) else module


def in_batches(
    make: Callable[[Tensor], Tensor], indices: Tensor, batch_size: int, progress: Progress | None = None
) -> Tensor:
    """The images [n, C, H, W] that `make` returns for `indices` [n], `batch_size` at a time, clamped to [-1, 1]."""
    images: list[Tensor] = []
    batches = indices.split(batch_size)
    for done, batch in enumerate(batches, start=1):
        images.append(make(batch).clamp(-1, 1).float())
        if progress:
            progress(done, len(batches))
    return torch.cat(images)
