"""The files of `generate`, written batch by batch, so that a call that was stopped is continued by the same call.

DIR/00000.png ...   one file per image; .tif for neither 1 nor 3 channels; 16 bits for models of more than 256 levels
DIR/grid.png        the first images
DIR/samples.npz     all of them as one array, and their condition
DIR/.unfinished/    the array up to now and what it is of, until the last image is there
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genmods.core.atomic import replacing

if TYPE_CHECKING:
    import numpy as np
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
        self._unfinished = folder / ".unfinished"
        self._request = json.loads(json.dumps({**request, "n": n}, default=str))
        self.done = self._begin()

    def _begin(self) -> int:
        """The number of samples that an earlier call has made; without such a call its files are removed."""
        try:
            state = json.loads((self._unfinished / "state.json").read_text(encoding="utf-8"))
            if state["request"] == self._request:
                return min(int(state["done"]), self.n)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if self._unfinished.is_dir() or (self.folder / "samples.npz").is_file():
            for old in self.folder.iterdir():
                if re.fullmatch(r"[0-9]{5,}\.(png|tif)", old.name):
                    old.unlink()
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return 0

    def add(self, images: Tensor, samples: Tensor) -> None:
        """Write the next `images` [B, C, H, W] in [-1, 1], of `samples` [B, ...], which may be the same."""
        import numpy as np

        from genmods.data.files import Picture, write_image

        self.folder.mkdir(parents=True, exist_ok=True)
        pictures = [Picture(image, None, self._bits, ends=self._ends) for image in images]
        suffix = ".png" if images.shape[1] in (1, 3) else ".tif"
        for number, picture in enumerate(pictures, start=self.done):
            with replacing(self.folder / f"{number:05d}{suffix}") as staged:
                write_image(staged.with_suffix(suffix), picture)
                staged.with_suffix(suffix).replace(staged)
        if samples is images:
            self._append(np.stack([picture.stored() for picture in pictures]), "images")
        else:
            self._append(samples.float().numpy(), "samples")
        self.done += len(images)
        with replacing(self._unfinished / "state.json") as staged:
            staged.write_text(json.dumps({"request": self._request, "done": self.done}), encoding="utf-8")

    def _append(self, rows: np.ndarray, name: str) -> None:
        """Write rows [B, ...] behind those that are complete."""
        import numpy as np

        path = self._unfinished / f"{name}.npy"
        self._unfinished.mkdir(parents=True, exist_ok=True)
        if self.done == 0:
            header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False}
            with path.open("wb") as file:
                np.lib.format.write_array_header_2_0(file, {**header, "shape": (self.n, *rows.shape[1:])})
        with path.open("r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_2_0(file)
            file.seek(self.done * rows[0].nbytes, 1)
            file.write(rows.tobytes())
            file.truncate()

    def finish(self, cond: Mapping[str, Tensor], show: Any) -> int:
        """Write the grid and the array with the condition; returns how many images the grid shows.

        Args:
            cond: Of all samples by name, each [N, ...].
            show: Maps samples [B, ...] that are no images to images [B, C, H, W].
        """
        import numpy as np
        import torch

        from genmods.visual.picture import to_picture

        (path,) = self._unfinished.glob("*.npy")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        first = torch.from_numpy(np.array(array[:SHOWN]))
        low, high = self._ends
        stored = path.stem == "images"
        images = first.permute(0, 3, 1, 2).float().sub(low).div(high - low).mul(2).sub(1) if stored else show(first)
        with replacing(self.folder / "grid.png") as staged:
            to_picture(images, columns=max(1, round(len(images) ** 0.5))).save(staged, format="png")
        place = self.folder / "samples.npz"
        with replacing(place) as staged, zipfile.ZipFile(staged, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, path.name)
            for name, value in cond.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, value.cpu().numpy(), allow_pickle=False)
        shutil.rmtree(self._unfinished)
        return len(images)
