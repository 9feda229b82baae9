"""Classifier guidance (Dhariwal and Nichol 2021): the score of x_t gains w ∇ ln p(y | x_t), so that

    ε <- ε - w σ g,    x0 <- x0 + w σ²/α g,    g = ∇_{x_t} ln p(y | x_t).

w = 0 is no guidance, w = 1 the conditional distribution where p(y | x_t) is exact. Where no signal is left (α = 0) x_t
says nothing of y, and g must be 0: x0 stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genmods.diffusion.denoiser import Denoise, DenoiserWrapper
from genmods.diffusion.prediction import Estimate
from genmods.diffusion.process import per_sample


@dataclass(frozen=True)
class ClassifierGuidance(DenoiserWrapper):
    """`denoiser` guided by `log_prob`: (x_t [B, ...], t [B]) -> ln p(y | x_t) [B], differentiable. A `Denoise`."""

    log_prob: Callable[[Tensor, Tensor], Tensor]
    weight: float = 1.0

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        estimate = self.denoiser(x_t, t)
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_prob(x, t).sum(), x)
        gain, sigma = per_sample(self.process.tweedie(t), x_t), per_sample(self.process.sigma(t), x_t)
        eps = estimate.eps - self.weight * sigma * gradient
        return estimate._replace(x0=estimate.x0 + self.weight * gain * gradient, eps=eps)


@dataclass(frozen=True)
class CleanClassifier:
    """ln p(labels | x0(x_t)) from a classifier of clean images, through the denoiser's estimate x0: a `log_prob`.

    `classifier` maps images [B, C, H, W] to logits [B, K]; `labels` is int64 [B].
    """

    denoiser: Denoise
    classifier: nn.Module | Callable[[Tensor], Tensor]
    labels: Tensor

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        logits = self.classifier(self.denoiser(x_t, t).x0)
        if bool(((self.labels < 0) | (self.labels >= logits.shape[1])).any()):
            raise ValueError(f"labels must lie in [0, {logits.shape[1]}), the classes of the classifier")
        return logits.log_softmax(1).gather(1, self.labels[:, None]).squeeze(1)
