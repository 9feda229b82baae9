"""What a model can do, as protocols with one method each.

Commands, callbacks and metrics ask for one of these and never for a class. A model, of whatever package, has an ability
by having the method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from genmods.core.progress import Progress
from genmods.diffusion.conditioning import Conditioning
from genmods.diffusion.samplers.base import Sampler
from genmods.models.base import Inspection
from genmods.models.diffusion import DiffusionModel
from genmods.models.likelihood import Likelihood


@runtime_checkable
class Generates(Protocol):
    """Makes new images: `generate`, the metrics of samples, and the pictures of samples while training."""

    def sample(
        self, n: int, *, seed: int = 0, batch_size: int = 256, first: int = 0, progress: Progress | None = None
    ) -> Tensor:
        """Make the samples number `first` to `first + n - 1` of a seed.

        One that is also `Conditional` takes `condition`, and one that is `UsesSampler` takes `sampler`.

        Args:
            n: The number of images.
            seed: Sample i depends on it, on i and on its condition alone.
            batch_size: How many are made together, which changes no sample.
            first: The number of the first sample.
            progress: Called with (steps done, all steps).

        Returns:
            Images [n, C, H, W] in [-1, 1].
        """
        ...


@runtime_checkable
class Conditional(Protocol):
    """Its `sample` takes `condition`, a dict of values by the names of the conditioning: `--label`, `--condition`."""

    def conditioned_on(self) -> Conditioning:
        """What new samples are conditioned on."""
        ...


@runtime_checkable
class UsesSampler(Protocol):
    """Its `sample` takes `sampler`, in place of its own: `--sampler`, `--steps`."""

    def default_sampler(self) -> Sampler:
        """The sampler that is used where no other is given."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Assigns each image to one of `class_names`: `classify`, Grad-CAM, classifier guidance."""

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities [B, K], rows summing to 1, of `images` [B, C, H, W] in [-1, 1]."""
        ...


@runtime_checkable
class Denoises(Protocol):
    """Is a diffusion model: guidance, restoration, and the pictures of noise levels."""

    def diffusion_model(self) -> DiffusionModel:
        """The model, with its current weights."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """Has a likelihood, for bits per dimension."""

    def likelihood(self) -> Likelihood | None:
        """The likelihood of images; None where this model has none after all (of latents, for instance)."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """Has a network that sees images, whose feature maps and filters `look` draws."""

    def inspect(self, image: Tensor, condition: Mapping[str, Any] | None, sigma: float) -> Inspection:
        """How the network sees `image` [C, H, W] in [-1, 1].

        `condition` holds requested values by name; a denoiser sees the image with white noise of `sigma` on [-1, 1].
        """
        ...


@runtime_checkable
class Calibrates(Protocol):
    """Fits something to the validation data once training is over, such as a temperature."""

    def calibrate(self, batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The fitted entries of the state dict, from the validation batches; called with the weights of a checkpoint,
        in which they are then saved."""
        ...


@runtime_checkable
class ReceivesResults(Protocol):
    """A callback that takes the result of an evaluation, as `Task.evaluation_result` returns it."""

    def on_evaluation_result(self, trainer: Any, stage: str, result: object) -> None:
        """Called on every rank at the end of each evaluation; `stage` is "val" or "test"."""
        ...
