"""What a generative network is conditioned on: nothing, a class, numbers, an image under a mask, or a plug-in's choice.

A condition is a dict of tensors with one row per sample, under the keys that networks read: `label` (int64 [B]; -1: no
label), `vector` (float [B, K]; NaN: unknown) and `image` (float [B, K, H, W]). A conditioning makes it from a batch of
training data, from a request such as `{"label": 3}`, or from nothing (the null condition of classifier-free guidance).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genmods.core.errors import UserError, nearest
from genmods.core.settings import Validated
from genmods.diffusion.denoiser import Condition


class Conditioning(Validated, nn.Module):
    """The registry kind `conditioning`.

    A subclass defines `forward` and `null`, and, where new samples can be asked for a condition, `names` and `of`.
    """

    names: tuple[str, ...] = ()
    """What a request may set: `generate --condition NAME=VALUE`, `sample(n, {NAME: value})`."""
    learns_null: bool = True
    """Whether training sees the null condition, which guidance and unconditional use need."""
    reveals_image: bool = False
    """Whether a condition holds a part of the image itself."""

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        """The condition of a batch of training data; in training mode, with the null condition for a share of it."""
        raise NotImplementedError

    def fit(self, batch: Mapping[str, Tensor]) -> None:
        """Fit statistics, such as a mean, to example data before the first step of a new run."""

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        """The condition of `n` samples about which nothing is known."""
        raise NotImplementedError

    def of(self, values: Mapping[str, Sequence[Any]], n: int, device: torch.device | str | None = None) -> Condition:
        """The condition of `n` samples with known `values`: for each of these `names` a sequence of `n`.

        Raises ValueError for an invalid value.
        """
        raise NotImplementedError

    def default(self, indices: Tensor) -> Condition:
        """The condition of new samples number `indices` (int64 [B]) where none is requested: the null condition."""
        return self.null(len(indices), indices.device)

    def example(self, n: int) -> Condition:
        """A condition of `n` samples on the meta device, for the dry run of a network."""
        return {name: value.to("meta") for name, value in self.null(n).items()}

    def describe(self, cond: Condition) -> list[str]:
        """The condition of each sample in words, for tables; empty where there is nothing to say."""
        return []

    def check(self, network: nn.Module) -> None:
        """Raises ValueError where `network` cannot take these conditions."""

    def require_trained(self, cond: Condition) -> None:
        """Raises UserError where `cond` has a null condition and training has seen none."""

    def same_as(self, other: Conditioning) -> bool:
        """Whether a condition of this conditioning means the same to a model of the `other`."""
        return type(self) is type(other) and self.names == other.names

    def requested(
        self, n: int, request: Mapping[str, Any] | None, indices: Tensor, device: torch.device | str | None = None
    ) -> Condition:
        """The condition of the new samples number `indices` (int64 [n]): `default`, or what `request` sets by name.

        A value is for all samples; a list (or tensor) of values is dealt out in turn. Raises UserError for a name or a
        value that the model does not know.
        """
        if not request:
            return self.default(indices)
        for name in request:
            if name not in self.names:
                known = f"conditioned on {', '.join(self.names)}" if self.names else "not conditioned on anything"
                hint = nearest(name, self.names) if self.names else ""
                raise UserError(f"condition '{name}': the model is {known}{hint if 'mean' in hint else ''}")
        try:
            return self.of({name: dealt(value, n) for name, value in request.items()}, n, device)
        except ValueError as error:
            raise UserError(f"condition {error}") from error

    def without(self, cond: Condition) -> Condition:
        """The null condition of as many samples as `cond` is for, on its device."""
        first = next(iter(cond.values()), torch.empty(0))
        return self.null(len(first), first.device)


def dealt(value: Any, n: int) -> list[Any]:
    """`value`, or the items of a list of values in turn, `n` times. Raises ValueError for an empty list."""
    values = value.tolist() if isinstance(value, Tensor) else value
    values = list(values) if isinstance(values, list | tuple) else [values]
    if not values:
        raise ValueError("values must be at least 1, got an empty list")
    return [values[i % len(values)] for i in range(n)]


class Unconditional(Conditioning):
    """No condition: the network sees the noised sample and its noise level alone."""

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        return {}

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        return {}
