"""Reading of a large folder of photographs: first and second start, and the peak of memory with `data.memory`.

    python benchmarks/image_cache.py --photos DIR --work DIR [--count 20000] [--only first,second,...]

Copies of the JPEG files in DIR, each with its number appended so that no two contents are equal, are read in new
processes; imports are not timed. Figures are written to WORK/image_cache.json after each piece; pieces that are there
are not measured again. `without` decodes all images without the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

PIECES = ("without", "first", "second", "fit_digits", "fit_bounded")
RECIPE = """task: {{name: classification, network: {{name: resnet, width: 4}}}}
data: {data}
optimizer: {{name: adamw, lr: 1e-3}}
trainer: {{max_steps: 3, accelerator: cpu}}
"""


def photos(source: Path, folder: Path, count: int) -> None:
    """Fills `folder` with `count` photographs of different content in two class folders."""
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    for i in range(count):
        path = folder / f"class {i % 2}" / f"{i:06}.jpg"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[i % len(files)].read_bytes() + str(i).encode())
            os.utime(path, (0, 0))


def read(folder: Path, size: int) -> dict[str, float]:
    """The seconds of reading, wall clock and processor time of all threads, after imports."""
    import torch

    from genmods.data.module import ImageData
    from genmods.data.sources.image_folder import ImageFolder

    torch.set_num_threads(1)
    data = ImageData(ImageFolder(str(folder), channels=3), image_size=size)
    start, used = time.perf_counter(), time.process_time()
    count = sum(len(images) for images in data.splits.values())
    return {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "images": count,
    }


def fit(work: Path, data: str) -> dict[str, float]:
    """The peak of memory of a short training, in MiB; a batch of four, since that of the network is not of interest."""
    from genmods.cli import dispatch

    os.chdir(work)
    Path("cache.yaml").write_text(RECIPE.format(data=data))
    start = time.perf_counter()
    status = dispatch(["fit", "--config", "cache.yaml", "--quiet"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"status": status, "peak_MiB": round(peak, 1), "seconds": round(time.perf_counter() - start, 1)}


def piece(name: str, work: Path) -> dict[str, float]:
    """Measures one piece in this process."""
    folder = work / "photos"
    if name == "fit_digits":
        return fit(work, "{name: digits, batch_size: 32}")
    if name == "fit_bounded":
        settings = "channels: 3, image_size: 224, batch_size: 4, memory: 256MiB"
        return fit(work, f"{{name: image_folder, root: {folder}, {settings}}}")
    return read(folder, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--only", default=",".join(PIECES))
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    options = parser.parse_args()
    work: Path = options.work.resolve()
    if options.piece:
        print(json.dumps(piece(options.piece, work)))
        return
    if options.photos:
        photos(options.photos, work / "photos", options.count)
    out = work / "image_cache.json"
    found = json.loads(out.read_text()) if out.is_file() else {}
    for name in options.only.split(","):
        if name in found:
            continue
        nowhere = "/proc/nowhere" if name == "without" else str(work / "cache")
        command = [sys.executable, __file__, "--work", str(work), "--piece", name]
        done = subprocess.run(
            command, env={**os.environ, "GENMODS_CACHE": nowhere}, stdout=subprocess.PIPE, text=True, check=True
        )
        found[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, found[name], flush=True)
        out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
