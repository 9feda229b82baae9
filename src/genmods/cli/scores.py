"""Scores of restored images against the ground truth: PSNR, SSIM, LPIPS if its weights are available, and FID."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from genmods.cli.image_batches import Item, Restored
from genmods.core.atomic import replacing
from genmods.core.errors import UserError
from genmods.core.printable import cell, printable
from genmods.metrics.features import Features
from genmods.metrics.fidelity import psnr, ssim
from genmods.metrics.frechet import frechet_distance
from genmods.metrics.statistics import gaussian_statistics

COLUMNS = ("sigma", "psnr_input", "psnr", "ssim", "lpips")
"""The estimated noise level (0 to 255), the PSNR of the input, and the scores of the result."""
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


Row = dict[str, float]


@dataclass
class Scorer:
    """Compares restored images with the truth; with `features`, also embeds both for the FID."""

    features: Features | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = field(default_factory=perceptual)

    def __call__(self, item: Item, restored: Restored, row: int) -> tuple[Row, Tensor | None]:
        """The noise level, the change (both 0 to 255) and the scores of one file, and the features [2, D] of its result
        and its truth.

        Raises UserError if the shapes of result and truth differ.
        """
        found: Row = {}
        if restored.sigma is not None:
            found["sigma"] = restored.sigma[row].square().mean().sqrt().item() * 255 / 2
            change = restored.image[row].cpu() - restored.shown[row].cpu()
            found["change"] = change.square().mean().sqrt().item() * 255 / 2
        if item.truth is None:
            return found, None
        result = restored.image[row].cpu()
        found |= self.compared(result, item.truth, restored.shown[row].cpu())
        return found, None if self.features is None else self._embedded(torch.stack([result, item.truth]))

    def compared(self, result: Tensor, truth: Tensor, given: Tensor) -> Row:
        """The scores of a `result`, made from the image `given`, against the `truth`, all [C, H, W] in [-1, 1]."""
        if result.shape != truth.shape:
            raise UserError(f"the ground truth must have shape {list(result.shape)}, got {list(truth.shape)}")
        pair, row = (result[None], truth[None]), {}
        if given.shape == truth.shape:
            row["psnr_input"] = psnr(given[None], truth[None]).item()
        row["psnr"] = psnr(*pair).item()
        if min(truth.shape[1:]) >= 11:
            row["ssim"] = ssim(*pair).item()
        if self.lpips is not None and min(truth.shape[1:]) >= 31:
            row["lpips"] = float(self.lpips(*(x.expand(-1, 3, -1, -1) for x in pair)))
        return row

    def _embedded(self, images: Tensor) -> Tensor:
        assert self.features is not None
        try:
            return self.features(images)
        except RuntimeError:
            shape = list(images.shape[1:])
            raise UserError(f"the features {self.features.name} do not support images of shape {shape}") from None


def summary(rows: dict[str, Row]) -> dict[str, tuple[float, float, int]]:
    """Mean, standard error and count of each score over the rows in which it is finite."""
    result = {}
    for name in COLUMNS:
        values = [row[name] for row in rows.values() if math.isfinite(row.get(name, math.nan))]
        if values:
            column = torch.tensor(values, dtype=torch.float64)
            error = column.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
            result[name] = (column.mean().item(), error, len(values))
    return result


def table(rows: dict[str, Row]) -> list[str]:
    """The lines of a table of scores by file: at most twenty rows, and means with standard errors."""
    means = summary(rows)
    names = {name: printable(name) for name in list(rows)[:20]}
    width = max(map(len, [*names.values(), "mean of 000000"]))
    lines = [f"{'':<{width}}" + "".join(f"{name:>16}" for name in means)]
    for name, shown in names.items():
        lines.append(f"{shown:<{width}}" + "".join(f"{rows[name].get(key, math.nan):>16.4g}" for key in means))
    spread = [f" ± {error:.2g}" if math.isfinite(error) else "" for _, error, _ in means.values()]
    cells = "".join(f"{f'{mean:.4g}{text}':>16}" for (mean, *_), text in zip(means.values(), spread, strict=True))
    lines.append(f"{f'mean of {len(rows)}':<{width}}{cells}")
    if any(count < len(rows) for *_, count in means.values()):
        lines.append(f"{'of these':<{width}}" + "".join(f"{count:>16}" for *_, count in means.values()))
    return lines


def fid(embedded: Tensor, features: Features) -> str:
    """The line of the FID of features [N, 2, D] of results and true images."""
    result, truth = (gaussian_statistics(side) for side in embedded.unbind(1))
    return f"FID {frechet_distance(result, truth):.4g}, n {len(embedded)}, {features.name}"


def write(rows: dict[str, Row], path: Path) -> None:
    """Write all rows as CSV."""
    with replacing(path) as staged, staged.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *COLUMNS])
        writer.writerows([cell(name), *(row.get(key, "") for key in COLUMNS)] for name, row in rows.items())
