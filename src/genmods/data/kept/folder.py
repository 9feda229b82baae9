"""The cache folder of decoded images; without it, a run decodes them itself."""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from genmods.core.atomic import cache
from genmods.core.system import system_error

_log = logging.getLogger(__name__)


class ImageCache:
    """The cache folder, and whether it could be written; the first failure is logged.

    Args:
        keeps: Whether images are kept; otherwise the folder is a path that cannot exist.
    """

    def __init__(self, keeps: bool = True) -> None:
        self.folder = cache("images") if keeps else Path(os.devnull) / "images"
        self.failed = not keeps

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A context that writes to the folder, and is left if the operating system refuses that."""
        try:
            yield
        except OSError as error:
            if not self.failed:
                _log.warning("decoded images are not kept: %s", system_error(error))
            self.failed = True


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz file, whose checksums are verified; None if there is none, or if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except OSError:
        return None
    except (ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        _log.warning("%s: is damaged and made again (%s)", path, " ".join(str(error).split()))
        return None
