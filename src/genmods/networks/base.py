"""The base class of all networks, their calling convention, and evaluation mode."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genmods.core.errors import first_line
from genmods.core.initial_weights import without_weights
from genmods.core.settings import Validated
from genmods.networks.weights import Loaded

Condition = dict[str, Tensor]


class Network(Validated, nn.Module):
    """A network that a task can train: the registry kind `network`.

    A denoising network is called as `network(x, log_snr, cond)` and returns [B, C', H, W], with `x` [B, C, H, W] scaled
    to about unit variance, `log_snr` [B] within ±`log_snr_limit`, and `cond`, a dictionary with any of `label` (int64
    [B], -1 for the null label), `vector` (float [B, K], NaN for unknown) and `image` (float [B, K, H, W]).

    A classifier is called as `network(x)` with `x` [B, C, H, W] and returns logits [B, num_classes]; `features(x)`
    returns the embedding [B, D] before the head.
    """

    log_snr_limit: float = 13.5
    """Log-SNRs are clamped to ± this value before a denoising network is called; `math.inf` disables clamping."""

    def features(self, x: Tensor) -> Tensor:
        """The embedding [B, D] of images `x` [B, C, H, W]; raises NotImplementedError unless it is a classifier."""
        raise NotImplementedError(f"{type(self).__name__} has no embedding; expected a classifier network")

    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation per channel, on [-1, 1], for the normalisation of input images; None for those of the
    data. Pretrained weights keep the statistics that they were trained with."""

    def normalized(self, images: Tensor) -> Tensor:
        """`images` [B, C, H, W] in [-1, 1], normalised with the network's `statistics`; unchanged if it has none."""
        if self.statistics is None:
            return images
        mean, std = (images.new_tensor(numbers).view(1, -1, 1, 1) for numbers in self.statistics)
        return (images - mean) / std

    loaded: Loaded | None = None
    """What was loaded from a file of weights, for a line to the user."""
    frozen: tuple[nn.Module, ...] = ()
    """Modules that are not trained and stay in evaluation mode."""
    lr_scales: Mapping[str, float] = MappingProxyType({})
    """Factors of the learning rate by the name of the parameter."""

    @property
    def inner(self) -> nn.Module:
        """The module whose layers weights of a file, `freeze` and `lr_scale` refer to."""
        return self

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for part in self.frozen:
            part.training = False
        return self

    def before_step(self) -> None:
        """Called before each training batch, such as to normalise weights."""

    prepared: bool = False
    """Whether the statistics that `fit_statistics` fits were loaded with the weights of an earlier run."""

    fitted: tuple[str, ...] = ()
    """Names of the parameters and buffers that `fit_statistics` sets."""

    def fit_statistics(self, images: Tensor) -> None:
        """Fit data statistics, such as a whitening layer, to `images` [N, C, H, W] before the first step."""


def outermost_networks(module: nn.Module) -> list[Network]:
    """The networks in `module` that are not part of another network."""
    if isinstance(module, Network):
        return [module]
    return [network for child in module.children() for network in outermost_networks(child)]


def keep_statistics(module: nn.Module, new: Collection[str]) -> None:
    """After loading weights, marks the networks in `module` as `prepared` whose statistics were loaded.

    Args:
        module: A network or a module of networks.
        new: Names of the tensors of `module` that were not loaded.
    """
    names = {part: name for name, part in module.named_modules()}
    for network in outermost_networks(module):
        network.prepared = not any(f"{names[network]}.{name}".lstrip(".") in new for name in network.fitted)


def compute_in(network: nn.Module, device_type: str, dtype: torch.dtype) -> None:
    """From now on, compute every call of `network` under autocast to `dtype`."""
    cast = torch.autocast(device_type, dtype)

    def enter(*_: Any) -> None:
        cast.__enter__()

    def leave(*_: Any) -> None:
        cast.__exit__(None, None, None)

    network.register_forward_pre_hook(enter)
    network.register_forward_hook(leave, always_call=True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Context in which all submodules of `module` are in eval mode; their modes are restored on exit."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


_building_for_checkpoint: ContextVar[bool] = ContextVar("restoring", default=False)


@contextmanager
def building_for_checkpoint() -> Iterator[None]:
    """Context in which networks are built for the weights of a checkpoint: without reading initial weights and
    without the dry run, which they passed before training."""
    token = _building_for_checkpoint.set(True)
    try:
        with without_weights():
            yield
    finally:
        _building_for_checkpoint.reset(token)


def is_building_for_checkpoint() -> bool:
    """Whether networks are built for the weights of a checkpoint."""
    return _building_for_checkpoint.get()


def dry_run(network: nn.Module, *inputs: Any) -> torch.Size | None:
    """The shape of `network(*inputs)`, computed on the meta device: no arithmetic, no memory.

    None within `building_for_checkpoint`. Raises ValueError, with a one-line message, if the call fails.
    """
    if is_building_for_checkpoint():
        return None
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    try:
        with evaluating(network), torch.no_grad():
            return functional_call(network, meta, inputs).shape
    except (TypeError, RuntimeError, NotImplementedError, AttributeError, IndexError, AssertionError) as error:
        raise ValueError(f"{type(network).__name__} does not fit this task: {first_line(error)}") from None
