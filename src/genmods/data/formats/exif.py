"""EXIF data of image files: camera, exposure, place and time, without tags about the storage of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

_KEPT = (
    270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853,
)  # fmt: skip
"""Description, camera, resolution, software, time, artist, computer, copyright, and the EXIF and GPS directories."""


def read_exif(path: str | Path) -> bytes | None:
    """The EXIF data of an image file, as for Pillow's `save(exif=...)`; None if there is none or it is damaged.

    Without the orientation, because images are read upright.
    """
    try:
        found = _read(Path(path))
        kept = Image.Exif()
        for tag in _KEPT:
            if tag in found:
                kept[tag] = found.get_ifd(tag) if tag in (34665, 34853) else found[tag]
        return kept.tobytes() if len(kept) else None
    except Exception:  # Pillow raises many types for damaged tags, which do not concern the pixels
        return None


def _read(path: Path) -> Image.Exif:
    if path.suffix.lower() in (".tif", ".tiff"):  # also those whose pixels Pillow does not support
        found = Image.Exif()
        with path.open("rb") as file:
            found.load_from_fp(file)
            found.update(dict(found))  # reads the values from the open file
            for tag in (34665, 34853):
                found.get_ifd(tag)
        return found
    with Image.open(path) as image:
        return image.getexif()


def texts(exif: bytes) -> list[tuple[int, str]]:
    """The tags of the first directory whose values are ASCII texts."""
    found = Image.Exif()
    found.load(exif)
    values: list[tuple[int, Any]] = list(found.items())
    return [(tag, value) for tag, value in values if isinstance(value, str) and value.isascii()]
