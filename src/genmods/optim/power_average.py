"""Post-hoc EMA: averages of weights with a length chosen after training (Karras et al. 2024, "Analyzing and Improving
the Training Dynamics of Diffusion Models", section 3).

The average of length σ after T steps weighs the weights after step j by (j/T)^(γ+1) - ((j-1)/T)^(γ+1), whose standard
deviation is σ T: σ² = (γ+1)/((γ+2)² (γ+3)). It is updated with the decay (1 - 1/t)^(γ+1) at step t. An average of
another length is approximated by the linear combination of snapshots of two such averages at several steps whose
weighting of the steps is closest to the requested one in least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LONGEST = 0.28
"""Longer averages would give the first steps the largest weight."""
BINS = 4096
"""Maximum number of bins of steps in the fit."""


def exponent(length: float) -> float:
    """γ of the average of `length` σ, relative to training, in (0, `LONGEST`]. Raises ValueError if out of range."""
    if not 0 < length <= LONGEST:
        raise ValueError(f"length must lie in (0, {LONGEST}], got {length}")
    square = length**-2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def decay(length: float, step: int) -> float:
    """The decay at `step` = 1, 2, ...: the average becomes decay · average + (1 - decay) · weights."""
    return (1 - 1 / step) ** (exponent(length) + 1)


class Profile(NamedTuple):
    """The weighting of the steps up to `step` in the average of a `length`."""

    length: float
    step: int

    def until(self, steps: np.ndarray) -> np.ndarray:
        """The cumulative weight of the steps up to `steps` [N]."""
        return np.minimum(steps / self.step, 1.0) ** (exponent(self.length) + 1)


def combination(snapshots: Sequence[Profile], target: Profile) -> tuple[list[float], float]:
    """The factors, with sum 1, of the linear combination of `snapshots` closest to `target`.

    Returns:
        The factors, and the relative root mean square error of the weighting.

    Raises:
        ValueError: If there are no snapshots.
    """
    if not snapshots:
        raise ValueError("there are no snapshots")
    last = max(target.step, *(profile.step for profile in snapshots))
    edges = np.unique(np.linspace(0, last, min(last, BINS) + 1).round())
    root = np.sqrt(np.diff(edges))
    columns = np.stack([np.diff(profile.until(edges)) / root for profile in snapshots], axis=1)
    wanted = np.diff(target.until(edges)) / root
    sums = 1e3 * np.linalg.norm(wanted)  # a large weight enforces that the factors sum to 1
    rows, right = np.vstack([columns, np.full(len(snapshots), sums)]), np.append(wanted, sums)
    factors = np.linalg.lstsq(rows, right, rcond=1e-9)[0]
    left = np.linalg.norm(columns @ factors - wanted) / np.linalg.norm(wanted)
    return factors.tolist(), float(left)
