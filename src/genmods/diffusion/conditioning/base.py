"""The base class of conditionings, which compute what a generative network is conditioned on.

A condition is a dictionary of tensors with one row per sample, under the keys that networks read: `label` (int64 [B];
-1 for no label), `vector` (float [B, K]; NaN for unknown values) and `image` (float [B, K, H, W]). A conditioning
computes it from a batch of training data, from a request such as `{"label": 3}`, or without either (the null condition
of classifier-free guidance).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from genmods.core.batch import INPUT
from genmods.core.errors import UserError, nearest
from genmods.core.settings import Validated
from genmods.diffusion.denoiser import Condition


class Conditioning(Validated, nn.Module):
    """The registry kind `conditioning`.

    A subclass defines `forward` and `null`, and, if a condition can be requested for new samples, `names` and `of`.
    """

    names: tuple[str, ...] = ()
    """The names in a request: `generate --condition NAME=VALUE`, `sample(n, {NAME: value})`."""
    learns_null: bool = True
    """Whether the null condition is trained, which guidance and unconditional samples require."""
    reveals_image: bool = False
    """Whether a condition contains a part of the image itself."""

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        """The condition of a batch of training data.

        Args:
            batch: Tensors [B, ...] by name (`genmods.core.batch`).

        Returns:
            Tensors [B, ...] by name; in training mode with the null condition for a random share of the samples.
        """
        raise NotImplementedError

    def fit(self, batch: Mapping[str, Tensor]) -> None:
        """Fits statistics, such as a mean, to a batch of tensors [B, ...] by name before the first step of a new
        run."""

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        """The null condition of `n` samples."""
        raise NotImplementedError

    def of(self, values: Mapping[str, Sequence[Any]], n: int, device: torch.device | str | None = None) -> Condition:
        """The condition of `n` samples with the requested `values`: a sequence of `n` per name, one of `names`.

        Raises:
            ValueError: If a value is invalid.
        """
        raise NotImplementedError

    def default(self, indices: Tensor) -> Condition:
        """The condition of new samples `indices` (int64 [B]) if none is requested: by default the null condition."""
        return self.null(len(indices), indices.device)

    def example(self, n: int) -> Condition:
        """A condition of `n` samples on the meta device, for the dry run of a network."""
        return {name: value.to("meta") for name, value in self.null(n).items()}

    def describe(self, cond: Condition) -> list[str]:
        """A short text per sample for tables, or an empty list."""
        return []

    def check(self, network: nn.Module) -> None:
        """Raises ValueError if `network` does not accept these conditions."""

    def require_trained(self, cond: Condition) -> None:
        """Raises UserError if `cond` contains a null condition and the model was trained without it."""

    def same_as(self, other: Conditioning) -> bool:
        """Whether conditions of `other` have the same meaning, so that `translate` converts them."""
        return type(self) is type(other) and self.names == other.names

    def translate(self, cond: Condition, other: Conditioning) -> Condition:
        """A condition of `other`, which is `same_as` this conditioning, as a condition of this one."""
        return cond

    def requested(
        self, n: int, request: Mapping[str, Any] | None, indices: Tensor, device: torch.device | str | None = None
    ) -> Condition:
        """The condition of new samples `indices` (int64 [n]): `default`, or the requested one.

        Args:
            n: Number of samples.
            request: A value per name, used for all samples, or k values, of which sample i has number i mod k.
            indices: Sample numbers, int64 [n].
            device: The device of the condition.

        Raises:
            UserError: If a name or a value is unknown to the model.
        """
        if not request:
            return self.default(indices)
        for name in request:
            if name not in self.names:
                known = f"conditioned on {', '.join(self.names)}" if self.names else "not conditioned on anything"
                hint = nearest(name, self.names) if self.names else ""
                raise UserError(f"condition '{name}': the model is {known}{hint if 'mean' in hint else ''}")
        try:
            return self.of({name: dealt(value, indices) for name, value in request.items()}, n, device)
        except ValueError as error:
            raise UserError(f"condition {error}") from error

    def without(self, cond: Condition) -> Condition:
        """The null condition for as many samples as `cond` has, on the same device."""
        first = next(iter(cond.values()), torch.empty(0))
        return self.null(len(first), first.device)


@runtime_checkable
class Discrete(Protocol):
    """A conditioning with few distinct conditions, each of them that of many samples."""

    def groups(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Numbers of the samples of a batch, int64 [B], equal for samples with the same condition."""
        ...


def dealt(value: Any, indices: Tensor) -> list[Any]:
    """`value` for each of the samples `indices` (int64 [B]); sample i has value i mod k of a list of k.

    Raises ValueError for an empty list.
    """
    values = value.tolist() if isinstance(value, Tensor) else value
    values = list(values) if isinstance(values, list | tuple) else [values]
    if not values:
        raise ValueError("values must be at least 1, got an empty list")
    return [values[i % len(values)] for i in indices.tolist()]


class Unconditional(Conditioning):
    """No condition: `forward` returns {} for a batch of tensors [B, ...], and the network receives x_t and log-SNR
    only."""

    def forward(self, batch: Mapping[str, Tensor]) -> Condition:
        return {}

    def groups(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Zeros, int64 [B]: all samples have the same condition."""
        return torch.zeros(len(batch[INPUT]), dtype=torch.int64)

    def null(self, n: int, device: torch.device | str | None = None) -> Condition:
        return {}
