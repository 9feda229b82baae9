"""Losses of classifiers: cross-entropy, focal loss, and class weights that balance unequal classes.

The focal loss multiplies the term of a class by (1 - p)^gamma, where p is its probability, which reduces the weight of
confident correct predictions (Lin et al. 2017); gamma = 0 is cross-entropy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weights N / (K n_k) of K classes, or labels, with n_k of their N images; 1 for a class without images."""
    total = sum(counts)
    return [total / (len(counts) * count) if count else 1.0 for count in counts]


def classification_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, smoothing: float = 0.0, gamma: float = 0.0
) -> Tensor:
    """The mean loss of `logits` [B, K], weighted and smoothed like `torch.nn.functional.cross_entropy`.

    Args:
        logits: [B, K].
        labels: Classes int64 [B], or probabilities float [B, K].
        weights: Class weights [K].
        smoothing: Label smoothing in [0, 1).
        gamma: Exponent of the focal loss, at least 0.
    """
    if gamma == 0:
        return F.cross_entropy(logits, labels, weights, label_smoothing=smoothing)
    classes, hard = logits.shape[1], not labels.is_floating_point()
    target = F.one_hot(labels, classes).to(logits) if hard else labels
    target = (1 - smoothing) * target + smoothing / classes
    log_p = logits.log_softmax(-1)
    terms = target * (1 - log_p.exp()).clamp_min(0) ** gamma * -log_p
    if weights is None:
        return terms.sum(-1).mean()
    total = weights[labels].sum() if hard else terms.new_tensor(len(terms))
    return (terms * weights).sum() / total


def several_loss(logits: Tensor, labels: Tensor, gamma: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """The mean binary loss of `logits` [B, K] for `labels` [B, K] in [0, 1], focal with exponent `gamma`.

    `weights` [K] multiply the terms of images that have the label.
    """
    terms = F.binary_cross_entropy_with_logits(logits, labels, reduction="none", pos_weight=weights)
    if gamma == 0:
        return terms.mean()
    p = logits.sigmoid()
    wrong = p * (1 - labels) + (1 - p) * labels
    return (terms * wrong**gamma).mean()
