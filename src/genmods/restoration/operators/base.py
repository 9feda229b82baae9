"""Linear operators A, with one spectral primitive.

With the singular value decomposition A = U S Vᵀ, everything that methods need besides A and Aᵀ is a function of
A Aᵀ = U S² Uᵀ:

    pseudo-inverse        A⁺ = Aᵀ f(A Aᵀ),                    f(λ) = 1/λ, 0 at λ = 0
    regularised solve     (c A Aᵀ + v I)⁻¹ = f(A Aᵀ),         f(λ) = 1/(cλ + v)
    spectral filter       V g(S²) Vᵀ x = x + Aᵀ f(A Aᵀ) A x,  f(λ) = (g(λ) - 1)/λ   for g(0) = 1

An operator therefore defines `forward`, `adjoint` and `spectral(y, f) = f(A Aᵀ) y`, in closed form if its spectrum is
known.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from genmods.core.settings import Validated

T = TypeVar("T")
Spectrum = Callable[[Tensor], Tensor]


def reciprocal(value: Tensor) -> Tensor:
    """1/value elementwise [...], and 0 where value is 0 (the scalar pseudo-inverse)."""
    zero = value == 0
    return torch.where(zero, 0.0, 1 / torch.where(zero, 1.0, value))


def once_a_size(make: Callable[[Any, Tensor], T]) -> Callable[[Any, Tensor], T]:
    """Caches a method of an operator and images `like` [..., H, W] for the last size, dtype and device."""

    @wraps(make)
    def remembered(self: Any, like: Tensor) -> T:
        known = self.__dict__.setdefault("_known", {})
        key = like.shape[-2:], like.dtype, like.device
        if known.get(make.__name__, (None,))[0] != key:
            with torch.inference_mode(False):  # the result may be part of a gradient later
                known[make.__name__] = key, make(self, like)
        return known[make.__name__][1]

    return remembered


class Operator(Validated, ABC):
    """The registry kind `operator`: a linear map of images [B, C, H, W] to measurements [B, C', H', W']."""

    @property
    def joins_channels(self) -> bool:
        """Whether a measurement depends on several channels of an image."""
        return False

    @property
    def ill_conditioned(self) -> bool:
        """Whether inversion amplifies small errors of the measurement, such as rounding."""
        return False

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x [B, C', H', W'] for images `x` [B, C, H, W]."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Aᵀ y [B, C, H, W] for measurements `y` [B, C', H', W']: ⟨A x, y⟩ = ⟨x, Aᵀ y⟩."""

    def spectral(self, y: Tensor, f: Spectrum) -> Tensor:
        """f(A Aᵀ) y for a real function `f` of the eigenvalues of A Aᵀ; by Lanczos iteration unless a closed form is
        known.

        `f` receives the eigenvalues in a shape that broadcasts to [B, C', H', W'], and may use factors [B, 1, 1, 1].
        """
        return lanczos(lambda v: self.forward(self.adjoint(v)), y, f)

    def pinv(self, y: Tensor) -> Tensor:
        """A⁺ y [B, C, H, W] for `y` [B, C', H', W'], the least-norm least-squares solution."""
        return self.adjoint(self.spectral(y, reciprocal))

    def filter(self, x: Tensor, g: Spectrum) -> Tensor:
        """V g(S²) Vᵀ x for images `x` [B, C, H, W] and `g` with g(0) = 1: the identity on the null space of A."""
        return x + self.adjoint(self.spectral(self.forward(x), lambda s: (g(s) - 1) * reciprocal(s)))

    def clean(self, y: Tensor) -> Tensor:
        """Measurements `y` [B, ...] with the values that A cannot produce, such as those of unknown pixels, set to
        0."""
        return y

    def restore_known(self, x: Tensor, y: Tensor) -> Tensor:
        """Images `x` [..., C, H, W] with the exactly measured pixels replaced by those of `y` [B, C, H, W]."""
        return x

    def rows(self, indices: Tensor) -> Operator:
        """The operator of the images `indices` (int64 [B']) of a batch; itself if all images share it."""
        return self

    def __call__(self, x: Tensor) -> Tensor:
        return self.forward(x)


def lanczos(gram: Callable[[Tensor], Tensor], y: Tensor, f: Spectrum, steps: int = 100) -> Tensor:
    """f(G) y for a symmetric positive semi-definite `gram`, independently for each row of `y` [B, ...].

    Lanczos with full reorthogonalisation: f(G) y ≈ ‖y‖ Q f(T) e₁, exact once the Krylov space is exhausted. Eigenvalues
    of T at rounding level count as zero. (Golub and Van Loan, Matrix Computations, chapter 10.)
    """
    shape, rows = y.shape, y.flatten(1)
    steps = min(steps, rows.shape[1])
    floor = torch.finfo(y.dtype).eps * steps
    norm = rows.norm(dim=1, keepdim=True)
    basis = torch.zeros(steps, *rows.shape, dtype=y.dtype, device=y.device)
    matrix = torch.zeros(len(rows), steps, steps, dtype=y.dtype, device=y.device)
    q = rows * reciprocal(norm)
    for k in range(steps):
        basis[k] = q
        image = gram(q.view(shape)).flatten(1)
        matrix[:, k, k] = (q * image).sum(1)
        for _ in range(2):
            image = image - torch.einsum("kb,kbd->bd", torch.einsum("kbd,bd->kb", basis, image), basis)
        beta = image.norm(dim=1)
        beta = torch.where(beta <= floor * matrix.diagonal(dim1=1, dim2=2).amax(1), 0.0, beta)
        if k + 1 == steps or not beta.any():
            break
        matrix[:, k, k + 1] = matrix[:, k + 1, k] = beta
        q = image * reciprocal(beta)[:, None]
    values, vectors = torch.linalg.eigh(matrix)
    values = torch.where(values <= floor * values[:, -1:], 0.0, values)
    spectrum = f(values.view(len(y), *[1] * (y.ndim - 2), steps)).reshape(len(y), steps)
    weights = torch.einsum("bij,bj,bj->bi", vectors, spectrum, vectors[:, 0])
    return (norm * torch.einsum("bk,kbd->bd", weights, basis)).view(shape)
