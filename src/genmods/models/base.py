"""The base of every model: networks with what is needed to use them, and no trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genmods.core.batch import Batch
from genmods.core.errors import UserError
from genmods.core.progress import Progress


class Inspection(NamedTuple):
    """A network, the `inputs` that it is called with for one image, and the image [C, H, W] to show beside them."""

    network: nn.Module
    inputs: tuple[Any, ...]
    shown: Tensor


class Model(nn.Module):
    """What a task trains and `genmods.load` returns.

    What it can do are the methods that it has, see `genmods.models.abilities`. Its constructor takes flat settings,
    which a recipe writes beside those of the task.
    """

    class_names: list[str] = []
    uses_classes: bool = False
    """Whether the model distinguishes the classes of its data: predicts them, or makes images of each."""
    image_shape: tuple[int, int, int] | None = None
    """Shape [C, H, W] of the images that go in or come out; None for other data."""

    @classmethod
    def facts_of_parts(cls, facts: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """The facts of the data for the parts in the settings of this class, `given` as in its recipe."""
        return facts

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        tensors = (*self.parameters(), *self.buffers())
        return tensors[0].device if tensors else torch.device("cpu")

    def fit_statistics(self, batch: Batch) -> None:
        """Fit what training does not to a batch of examples from all over the data, before a new run's first step."""

    def example_inputs(self, name: str) -> tuple[Any, ...]:
        """What the network in the setting `name` is called with for one image, on the meta device.

        Raises UserError for a model without `image_shape`.
        """
        if self.image_shape is None:
            raise UserError(f"a {type(self).__name__} has no example of what its {name} is called with")
        return (torch.empty(1, *self.image_shape, device="meta"),)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Raises UserError, with the first difference, where the tensors are not those of this model."""
        try:
            return super().load_state_dict(state_dict, *args, **kwargs)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise UserError(f"the checkpoint does not fit this {type(self).__name__}: {first}") from None


def model_of(module: nn.Module) -> Any:
    """The model that a task trains: its `model`, or the task itself where it has none."""
    model = getattr(module, "model", None)
    return model if isinstance(model, Model) else module


def in_batches(
    make: Callable[[Tensor], Tensor], indices: Tensor, batch_size: int, progress: Progress | None = None
) -> Tensor:
    """The images [n, C, H, W] that `make` makes of numbers `indices` [n], `batch_size` at a time, within [-1, 1]."""
    images: list[Tensor] = []
    batches = indices.split(batch_size)
    for done, batch in enumerate(batches, start=1):
        images.append(make(batch).clamp(-1, 1).float())
        if progress:
            progress(done, len(batches))
    return torch.cat(images)
