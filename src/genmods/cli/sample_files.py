"""The files of `generate`, written batch by batch, so that a call that was stopped is continued by the same call.

DIR/00000.png ...   one file per image; .tif for neither 1 nor 3 channels; 16 bits for models of more than 256 levels
DIR/grid.png        the first images
DIR/samples.npz     all of them as one array, and their condition
DIR/.unfinished/    the array so far, until the last image is there
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.cli.unfinished import Unfinished
from genmods.core.atomic import replacing

if TYPE_CHECKING:
    from torch import Tensor

    from genmods.data.preparation import Preparation

SHOWN = 256
"""The most images in the grid."""


class SampleFiles:
    """The folder of one call.

    Args:
        folder: Where the files go.
        n: The number of samples.
        request: What the samples depend on, as plain data: samples of another request are not continued.
        preparation: How the files of the training were prepared: images are written in its range and depth.
    """

    def __init__(
        self, folder: Path, n: int, request: Mapping[str, Any], preparation: Preparation | None = None
    ) -> None:
        self.folder, self.n = folder, n
        self._bits, self._ends = 8, (0.0, 255.0)
        if preparation is not None and (preparation.levels or 0) > 256:
            low, high = preparation.range or (0.0, 65535.0)
            self._bits, self._ends = 16, (low, high) if 0 <= low < high <= 65535 else (0.0, 65535.0)
        place = folder / ".unfinished"
        earlier = place.is_dir() or (folder / "samples.npz").is_file()
        self._work = Unfinished(place, {**request, "n": n})
        if earlier and not self._work.continues:
            for old in folder.iterdir():
                if re.fullmatch(r"[0-9]{5,}\.(png|tif)", old.name):
                    old.unlink()

    @property
    def done(self) -> int:
        """The number of samples that are there."""
        return max(map(self._work.count, ("images", "samples")))

    def add(self, images: Tensor, samples: Tensor) -> None:
        """Write the next `images` [B, C, H, W] in [-1, 1], of `samples` [B, ...], which may be the same."""
        import numpy as np

        from genmods.data.files import Picture, write_image

        self.folder.mkdir(parents=True, exist_ok=True)
        pictures = [Picture(image, None, self._bits, ends=self._ends) for image in images]
        suffix = ".png" if images.shape[1] in (1, 3) else ".tif"
        for number, picture in enumerate(pictures, start=self.done):
            write_image(self.folder / f"{number:05d}{suffix}", picture)
        if samples is images:
            self._work.add(images=np.stack([picture.stored() for picture in pictures]))
        else:
            self._work.add(samples=samples.float().numpy())

    def finish(self, cond: Mapping[str, Tensor], show: Any) -> int:
        """Write the grid and the array with the condition; returns how many images the grid shows.

        Args:
            cond: Conditions of all samples, by name, each [N, ...].
            show: Maps samples [B, ...] other than images to images [B, C, H, W].
        """
        import numpy as np
        import torch

        from genmods.visual.picture import to_picture

        name = "images" if self._work.count("images") else "samples"
        array = self._work.array(name)
        first = torch.from_numpy(array[:SHOWN].copy())
        low, high = self._ends
        stored = name == "images"
        images = first.permute(0, 3, 1, 2).float().sub(low).div(high - low).mul(2).sub(1) if stored else show(first)
        with replacing(self.folder / "grid.png") as staged:
            to_picture(images, columns=max(1, round(len(images) ** 0.5))).save(staged, format="png")
        members = {name: array, **{key: value.cpu().numpy() for key, value in cond.items()}}
        with replacing(self.folder / "samples.npz") as staged, zipfile.ZipFile(staged, "w") as archive:
            for key, value in members.items():
                member = zipfile.ZipInfo(f"{key}.npy")  # no timestamp: equal samples give identical files
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, value, allow_pickle=False)
        self._work.remove()
        return len(images)
