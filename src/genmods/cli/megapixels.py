"""Progress over image files in megapixels, so that a large photograph counts for more than a small one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genmods.cli.progress import ProgressBar
from genmods.core.errors import UserError
from genmods.core.progress import Progress
from genmods.data.files import open_image
from genmods.data.formats.raster import quiet_decoders


class Megapixels:
    """Shows in `bar` how many megapixels of the files in `paths`, numbered from 0, are finished.

    Files that cannot be opened have none.
    """

    def __init__(self, bar: ProgressBar, paths: Iterable[Path]) -> None:
        self._bar = bar
        self._sizes = [_megapixels(path) if bar.visible else 0.0 for path in paths]
        self._finished: set[int] = set()

    def finish(self, numbers: Iterable[int]) -> None:
        """Shows that these files are finished."""
        self._finished.update(numbers)
        self._show(0.0)

    def within(self, numbers: list[int]) -> Progress:
        """The callback for the progress within a batch of these files."""
        return lambda done, total: self._show(sum(self._sizes[k] for k in numbers) * done / total)

    def _show(self, more: float) -> None:
        if self._bar.visible:
            self._bar(sum(self._sizes[k] for k in self._finished) + more, sum(self._sizes))


def _megapixels(path: Path) -> float:
    try:
        with quiet_decoders():
            height, width = open_image(path).size
    except UserError:
        return 0.0
    return height * width / 1e6
