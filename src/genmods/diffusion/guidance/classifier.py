"""Classifier guidance (Dhariwal and Nichol 2021): w ∇ ln p(y | x_t) is added to the score of x_t,

    ε <- ε - w σ g,    x0 <- x0 + w σ²/α g,    g = ∇_{x_t} ln p(y | x_t).

w = 0 disables guidance; w = 1 samples the conditional distribution if p(y | x_t) is exact. Without signal (α = 0) x_t
is independent of y, g must be 0 and x0 is unchanged.
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
    """A denoiser guided by a classifier of noisy images.

    Attributes:
        denoiser: The unguided denoiser.
        log_prob: Maps (x_t [B, ...], t [B]) to ln p(y | x_t) [B], differentiable.
        weight: The weight w; 0 disables guidance.
    """

    log_prob: Callable[[Tensor, Tensor], Tensor]
    weight: float = 1.0

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        """The guided estimate at `x_t` [B, ...] and `t` [B]."""
        estimate = self.denoiser(x_t, t)
        with torch.enable_grad():
            x = x_t.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.log_prob(x, t).sum(), x)
        gain, sigma = per_sample(self.process.tweedie(t), x_t), per_sample(self.process.sigma(t), x_t)
        eps = estimate.eps - self.weight * sigma * gradient
        return estimate._replace(x0=estimate.x0 + self.weight * gain * gradient, eps=eps)


@dataclass(frozen=True)
class CleanClassifier:
    """ln p(labels | x0(x_t)), by a classifier of clean images applied to the denoiser's estimate of x0: a `log_prob`
    for `ClassifierGuidance`.

    Attributes:
        denoiser: The unguided denoiser.
        classifier: Maps images [B, C, H, W] to logits [B, K].
        labels: The classes of the batch, int64 [B] in [0, K).
    """

    denoiser: Denoise
    classifier: nn.Module | Callable[[Tensor], Tensor]
    labels: Tensor

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """ln p(labels | x0(x_t)) [B] at `x_t` [B, C, H, W] and `t` [B]. Raises ValueError if a label is out of
        range."""
        logits = self.classifier(self.denoiser(x_t, t).x0)
        if bool(((self.labels < 0) | (self.labels >= logits.shape[1])).any()):
            raise ValueError(
                f"labels must lie in [0, {logits.shape[1]}), the classes of the classifier, got {self.labels.tolist()}"
            )
        return logits.log_softmax(1).gather(1, self.labels[:, None]).squeeze(1)
