"""Scores of restored images against the ground truth: PSNR, SSIM, LPIPS if its weights are available, and FID."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.printable import cell, printable
from genmods.metrics.features import Features
from genmods.metrics.fidelity import psnr, ssim
from genmods.metrics.frechet import frechet_distance
from genmods.metrics.statistics import gaussian_statistics

COLUMNS = ("sigma", "psnr_input", "psnr", "ssim", "lpips")
"""The noise level that was found (0 to 255), the PSNR of the input, and the scores of the result."""
LPIPS_BACKBONE = "alexnet-owt-*.pth"


def perceptual() -> Callable[[Tensor, Tensor], Tensor] | None:
    """LPIPS with the AlexNet weights in torch's hub folder, or None if they are missing. Nothing is downloaded.

    Returns:
        A function of two batches of images [B, 3, H, W] in [-1, 1], which returns their mean distance, a scalar.
    """
    if not any((Path(torch.hub.get_dir()) / "checkpoints").glob(LPIPS_BACKBONE)):
        return None
    try:
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except ImportError:
        return None
    return LearnedPerceptualImagePatchSimilarity(net_type="alex")


@dataclass
class Scores:
    """A table of scores, one row per file; with `features`, also the FID of all results against all true images."""

    features: Features | None = None
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    lpips: Callable[[Tensor, Tensor], Tensor] | None = field(default_factory=perceptual)
    embedded: list[Tensor] = field(default_factory=list)

    def add(self, name: Path, result: Tensor, truth: Tensor, given: Tensor, sigma: float | None = None) -> None:
        """Add a file: `result`, `truth` and the image `given` [C, H, W] in [-1, 1], and the noise level that was found,
        0 to 255. Raises UserError if the shapes of result and truth differ."""
        if result.shape != truth.shape:
            raise UserError(f"the ground truth must have shape {list(result.shape)}, got {list(truth.shape)}")
        pair = result.cpu()[None], truth[None]
        row = {} if sigma is None else {"sigma": sigma}
        if given.shape == truth.shape:
            row["psnr_input"] = psnr(given.cpu()[None], truth[None]).item()
        row["psnr"] = psnr(*pair).item()
        if min(truth.shape[1:]) >= 11:
            row["ssim"] = ssim(*pair).item()
        if self.lpips is not None and min(truth.shape[1:]) >= 31:
            row["lpips"] = float(self.lpips(*(x.expand(-1, 3, -1, -1) for x in pair)))
        self.rows[str(name)] = row
        if self.features is not None:
            self.embedded.append(self._embed(torch.cat(pair)))

    def _embed(self, images: Tensor) -> Tensor:
        assert self.features is not None
        try:
            return self.features(images)
        except RuntimeError:
            shape = list(images.shape[1:])
            raise UserError(f"the features {self.features.name} do not support images of shape {shape}") from None

    def summary(self) -> dict[str, tuple[float, float, int]]:
        """Mean, standard error and count of each score over the rows in which it is finite."""
        result = {}
        for name in COLUMNS:
            values = [row[name] for row in self.rows.values() if math.isfinite(row.get(name, math.nan))]
            if values:
                column = torch.tensor(values, dtype=torch.float64)
                error = column.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
                result[name] = (column.mean().item(), error, len(values))
        return result

    def table(self) -> list[str]:
        """The lines of the table: at most twenty rows, and means with standard errors."""
        summary = self.summary()
        names = {name: printable(name) for name in self.rows}
        width = max(map(len, [*names.values(), "mean of 000000"]))
        lines = [f"{'':<{width}}" + "".join(f"{name:>16}" for name in summary)]
        for name, row in list(self.rows.items())[:20]:
            lines.append(f"{names[name]:<{width}}" + "".join(f"{row.get(key, math.nan):>16.4g}" for key in summary))
        cells = "".join(f"{f'{mean:.4g} ± {error:.2g}':>16}" for mean, error, _ in summary.values())
        lines.append(f"{f'mean of {len(self.rows)}':<{width}}{cells}")
        if any(count < len(self.rows) for *_, count in summary.values()):
            lines.append(f"{'of these':<{width}}" + "".join(f"{count:>16}" for *_, count in summary.values()))
        if self.features is not None and len(self.rows) > 1:
            result, truth = (gaussian_statistics(side) for side in torch.stack(self.embedded).unbind(1))
            lines.append(f"FID {frechet_distance(result, truth):.4g}, n {len(self.rows)}, {self.features.name}")
        return lines

    def write(self, path: Path) -> None:
        """Write all rows as CSV."""
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", *COLUMNS])
            writer.writerows([cell(name), *(row.get(key, "") for key in COLUMNS)] for name, row in self.rows.items())
