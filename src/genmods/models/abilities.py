"""Abilities of models as protocols with one method each.

Commands, callbacks and metrics check for a protocol, never for a class. A model of any package has an ability if it has
the method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from genmods.core.progress import Progress
from genmods.diffusion.conditioning import Conditioning
from genmods.diffusion.denoiser import Denoise
from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.samplers.base import Sampler
from genmods.models.base import Inspection
from genmods.models.diffusion import DiffusionModel
from genmods.models.likelihood import Likelihood


@runtime_checkable
class Generates(Protocol):
    """Generates new images; enables `generate`, metrics of samples, and sample pictures during training."""

    def sample(
        self, n: int, *, seed: int = 0, batch_size: int = 256, first: int = 0, progress: Progress | None = None
    ) -> Tensor:
        """Generate the samples with indices `first` to `first + n - 1`.

        A `Conditional` model also takes `condition`, a model that `UsesSampler` also takes `sampler`.

        Args:
            n: Number of images.
            seed: Random seed; sample i depends only on the seed, i and its condition.
            batch_size: Number of samples per batch; does not affect the samples.
            first: Index of the first sample.
            progress: Called with (steps done, total steps).

        Returns:
            Images [n, C, H, W] in [-1, 1].
        """
        ...


@runtime_checkable
class Conditional(Protocol):
    """`sample` takes `condition`, a dictionary of values by the names of the conditioning."""

    def conditioned_on(self) -> Conditioning:
        """The conditioning of new samples."""
        ...


@runtime_checkable
class UsesSampler(Protocol):
    """`sample` takes `sampler`, which replaces the default one."""

    def default_sampler(self) -> Sampler:
        """The default sampler."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Assigns each image to one of `class_names`; enables `classify`, Grad-CAM, classifier guidance."""

    def probabilities(self, images: Tensor) -> Tensor:
        """Class probabilities [B, K], rows summing to 1, of `images` [B, C, H, W] in [-1, 1]."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """Predicts a number per name of `class_names`, of the kind `predicts`; enables `classify` and `predict`."""

    def predictions(self, images: Tensor) -> Tensor:
        """The numbers [B, K] of `images` [B, C, H, W] in [-1, 1]."""
        ...


@runtime_checkable
class Denoises(Protocol):
    """Has a diffusion model; enables guidance, restoration, and pictures of noise levels."""

    def diffusion_model(self) -> DiffusionModel:
        """The diffusion model with its current weights."""
        ...


@runtime_checkable
class Restores(Protocol):
    """Restores images in one call; enables `denoise` and `restore`."""

    image_shape: tuple[int, int, int]
    operator: Any
    """The operator that it inverts."""
    corruption: Any
    """The corruption that it removes, or None."""

    def restored(self, y: Tensor, std: Tensor | None = None, progress: Progress | None = None) -> Tensor:
        """Restored images [B, C, H, W] in [-1, 1] for measurements `y` [B, ...].

        `std` is the standard deviation of the noise per pixel, broadcastable to `y`; a blind model ignores it.
        `progress` is called as `progress(done, total)` while a large image is restored.
        """
        ...

    def denoiser(self, process: NoiseProcess) -> Denoise:
        """The model as a diffusion denoiser of `process`. Raises UserError if that is not possible."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """Has a likelihood; enables bits per dimension."""

    def likelihood(self) -> Likelihood | None:
        """The likelihood of images; None if this particular model has none (for instance a model of latents)."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """Has a network with images as input; enables `look` (feature maps, filters)."""

    def inspect(self, image: Tensor, condition: Mapping[str, Any] | None, sigma: float) -> Inspection:
        """The network and its inputs for `image` [C, H, W] in [-1, 1].

        `condition` holds requested values by name. For a denoiser, white noise of standard deviation `sigma`, on the
        scale of [-1, 1], is added to the image.
        """
        ...


@runtime_checkable
class Calibrates(Protocol):
    """Fits parameters such as a temperature to the validation data after training."""

    def calibrate(self, batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Fit to the validation batches, with the weights of a checkpoint.

        Returns the fitted entries of the state dict (tensors of any shape), which are saved in that checkpoint.
        """
        ...


@runtime_checkable
class ReceivesResults(Protocol):
    """A callback that receives the results of evaluations, as returned by `Task.evaluation_result`."""

    def on_evaluation_result(self, trainer: Any, stage: str, result: object) -> None:
        """Called on every rank at the end of each evaluation; `stage` is "val" or "test"."""
        ...
