"""The files of `generate`, written batch by batch, so that a call that was stopped is continued by the same call.

DIR/00000.png ...   one file per image
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

SHOWN = 256
"""The most images in the grid."""


class SampleFiles:
    """The folder of one call.

    Args:
        folder: Where the files go.
        n: The number of samples.
        request: What the samples depend on, as plain data: samples of another request are not continued.
    """

    def __init__(self, folder: Path, n: int, request: Mapping[str, Any]) -> None:
        self.folder, self.n = folder, n
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
            for old in self.folder.glob("*.png"):
                if re.fullmatch(r"[0-9]{5,}\.png", old.name):
                    old.unlink()
        shutil.rmtree(self._unfinished, ignore_errors=True)
        return 0

    def add(self, images: Tensor, samples: Tensor) -> None:
        """Write the next `images` [B, C, H, W] in [-1, 1], of `samples` [B, ...], which may be the same."""
        from genmods.data.files import Picture, write_image

        self.folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images, start=self.done):
            with replacing(self.folder / f"{number:05d}.png") as staged:
                write_image(staged.with_suffix(".png"), Picture(image, None, 8))
                staged.with_suffix(".png").replace(staged)
        self._append(_rows(images, samples), "images" if samples is images else "samples")
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

        from genmods.data.images import to_float
        from genmods.visual.picture import to_picture

        (path,) = self._unfinished.glob("*.npy")
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        first = torch.from_numpy(np.array(array[:SHOWN]))
        images = to_float(first.permute(0, 3, 1, 2)) if path.stem == "images" else show(first)
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


def _rows(images: Tensor, samples: Tensor) -> np.ndarray:
    """What the array holds of a batch: uint8 [B, H, W, C] of images, else the samples [B, ...] in float32."""
    from genmods.data.images import to_uint8

    return to_uint8(images).permute(0, 2, 3, 1).numpy() if samples is images else samples.float().numpy()
