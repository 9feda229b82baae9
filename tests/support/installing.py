"""Builds a distribution of `tests/plugins` into a wheel and installs it, as an installer would, into any folder."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).parents[1] / "plugins"


def build(project: str, folder: Path) -> Path:
    """The wheel of a distribution of pure Python modules."""
    root = HERE / project
    meta = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    stem = f"{meta['name'].replace('-', '_')}-{meta['version']}"
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in items.items())
        for group, items in meta["entry-points"].items()
    )
    info = f"{stem}.dist-info"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in [*root.glob("*.py"), *root.glob("*.py.txt")]:  # .txt: not valid Python on purpose
            archive.write(path, path.name.removesuffix(".txt"))
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {meta['name']}\nVersion: {meta['version']}\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", points)
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def install(project: str, site: Path) -> None:
    """Build a distribution and unpack its wheel into `site`."""
    site.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(build(project, site.parent)) as archive:
        archive.extractall(site)
