"""Whether two checkouts compute the same, bit for bit.

    python benchmarks/record.py take CHECKOUT RECORD.json      # a few minutes of one core
    python benchmarks/record.py compare RECORD.json OTHER.json

A record holds one hash per item: the weights after 50 steps of each shipped recipe (small networks, synthetic stand-ins
for data that must be fetched), the images of each sampler and the results of each restoration method from one
checkpoint. Everything goes through `python -m genmods` and registered names, in float32 on one thread, so that modules
and classes may be renamed between the checkouts. `compare` exits with status 1 where an item differs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STEPS = 50
TRAIN = ["--trainer.precision=32-true", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
TRAIN += ["--trainer.check_val_every_n_epoch=null", "--trainer.val_check_interval=1000", "--logger=null"]
SMALL = {"width": 8, "widths": [8, 16, 24]}
DENOISER = """
name: mlp
seed: 7
task: {name: diffusion, network: {name: mlp, width: 64}, process: cosine, prediction: v, density: low_discrepancy}
data: {name: digits, batch_size: 64}
optimizer: {name: adamw, lr: 2e-3, weight_decay: 0.01}
schedule: {name: cosine, warmup: 20}
trainer: {max_steps: 200, gradient_clip_val: 1.0}
callbacks: [{name: ema, decays: [0.9]}]
"""
"""The model of samplers and methods: none of the recipes', so that a change of those is not taken for one of theirs."""
RENAMED = {"edm_heun": "heun", "flow_ode": "flow", "airbench": "fast_cnn"}
MEASURED = {"box": 8, "average": 4}  # operator: side of the image that it measured


def genmods(*words: str) -> str:
    """What one command prints; raises RuntimeError where its status is not 0."""
    from genmods.__main__ import main

    sys.argv = ["genmods", *words]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main()
    if status:
        raise RuntimeError(f"status {status}: genmods {' '.join(words)}")
    return out.getvalue()


def names(kind: str) -> list[str]:
    line = next(line for line in genmods("list").splitlines() if line.split(maxsplit=1)[0] == kind)
    return [name.strip() for name in line.split(maxsplit=1)[1].split(",")]


def tensors(tree: Any) -> Iterator[Any]:
    """The tensors in nested dicts and lists, in their order; names are left out, for they may change."""
    import torch

    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, dict | list | tuple):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from tensors(item)


def digest(arrays: Iterator[Any]) -> str:
    hasher = hashlib.blake2b(digest_size=12)
    for array in arrays:
        hasher.update(f"{array.dtype}{tuple(array.shape)}".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def newest(run: str) -> Path:
    return max((Path("runs") / run).glob("*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)


def weights(run: str) -> str:
    """The hash of weights and averaged weights of the newest run."""
    import torch

    checkpoint = torch.load(newest(run), map_location="cpu", weights_only=True)
    return digest(tensor.numpy() for tensor in tensors([checkpoint["state_dict"], checkpoint.get("ema")]))


def stand_ins() -> None:
    """Idx files in the place of Fashion-MNIST, and a folder of colour images with a subfolder per class."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    folder = Path("data/FashionMNIST/raw")
    folder.mkdir(parents=True)
    os.environ["GENMODS_DATA"] = str(Path("data").resolve())
    for stem, count in (("train", 1200), ("t10k", 200)):
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        ramps = np.linspace(0, 1, 28) ** (0.2 + labels[:, None, None] / 4)
        images = (ramps * generator.uniform(60, 255, (count, 28, 1))).astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels.tobytes())
    for k in range(60):
        path = Path("photos") / ("cat", "dog", "eel")[k % 3] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (20 + k % 7, 24, 3), dtype=np.uint8)).save(path)
    for side in MEASURED.values():
        for k in range(2):
            path = Path("measured") / str(side) / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 65536, (side, side)).astype(np.uint16)).save(path)


def recipes(checkout: Path) -> dict[str, dict[str, Any]]:
    """Each shipped recipe's content; those that take parts of an earlier run come last."""
    import yaml

    folder = checkout / "recipes"
    read = {
        str(path.relative_to(folder).with_suffix("")): yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.yaml"))
    }
    return dict(sorted(read.items(), key=lambda item: "'from'" in str(item[1])))


def overrides(recipe: dict[str, Any]) -> list[str]:
    """Small networks and batches for a recipe, as options of the command line."""
    found = ["--data.batch_size=16"]
    for slot in ("network", "discriminator"):
        settings = recipe["task"].get(slot)
        for name in SMALL.keys() & (settings if isinstance(settings, dict) else {}).keys():
            found.append(f"--task.{slot}.{name}={SMALL[name]}")
    data = recipe["data"] if isinstance(recipe["data"], dict) else {}
    if data.get("name") == "image_folder":
        found += ["--data.root=photos", "--data.image_size=16"]
    return found


def trained(checkout: Path) -> Iterator[tuple[str, str]]:
    for name, recipe in recipes(checkout).items():
        run = name.replace("/", "-")
        common = ["--config", str(checkout / "recipes" / f"{name}.yaml"), "--quiet", *overrides(recipe)]
        if recipe["task"]["name"] == "restoration":
            fast = ["--task.steps=3", "--data.limit=8", "--logger=null", "--trainer.precision=32-true"]
            genmods("test", *common, *fast, "--trainer.accelerator=cpu")
            (figures,) = Path("runs").glob(f"{run}/*/test.json")
            values = sorted(json.loads(figures.read_text()).values())
            yield f"figures of {name}", hashlib.blake2b(repr(values).encode(), digest_size=12).hexdigest()
        else:
            genmods("fit", *common, f"--trainer.max_steps={STEPS}", *TRAIN)
            yield f"weights of {name}", weights(run)


def png(folder: Path) -> str:
    import numpy as np
    from PIL import Image

    return digest(np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png")))


def drawn() -> Iterator[tuple[str, str]]:
    """Samples and restorations by one checkpoint, in 8 bits and in 16."""
    Path("mlp.yaml").write_text(DENOISER, encoding="utf-8")
    genmods("fit", "--config", "mlp.yaml", "--quiet", *TRAIN)
    yield "weights of the mlp", weights("mlp")
    run = str(newest("mlp"))
    for sampler in names("sampler"):
        out = Path("samples") / sampler
        yield attempt(
            f"samples of {RENAMED.get(sampler, sampler)}",
            out,
            [
                "generate",
                "--ckpt_path",
                run,
                "--n",
                "16",
                "--steps",
                "6",
                "--sampler",
                sampler,
                "--out",
                str(out),
                "--quiet",
            ],
        )
    for operator, side in MEASURED.items():
        for method in names("method"):
            out = Path("restored") / operator / method
            words = ["restore", "--ckpt_path", run, "--input", f"measured/{side}", "--out", str(out), "--steps", "6"]
            words += ["--operator", operator, "--method", method, "--sigma", "0", "--quiet"]
            yield attempt(f"{operator} undone by {method}", out, words)
    out = Path("restored/denoise")
    words = ["denoise", "--ckpt_path", run, "--input", "measured/8", "--out", str(out), "--sigma", "25", "--quiet"]
    yield attempt("denoising", out, words)


def attempt(item: str, out: Path, words: list[str]) -> tuple[str, str]:
    """The hash of the pictures that a command writes; a method need not know every operator."""
    try:
        genmods(*words)
    except RuntimeError:
        return item, "refused"
    return item, png(out)


def take(checkout: Path, record: Path) -> None:
    """Run `child` in a fresh process that imports genmods from a checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "GENMODS_"))}
    environment |= {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(Path(__file__).resolve()), "child", str(checkout.resolve()), str(record.resolve())]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, cwd=folder, env=environment, check=True)


def child(checkout: Path, record: Path) -> None:
    import torch

    torch.set_num_threads(1)
    stand_ins()
    found: dict[str, str] = {}
    for items in (trained(checkout), drawn()):
        for item, value in items:
            found[item] = value
            print(f"{item}: {value}", flush=True)
    record.write_text(json.dumps(found, indent=1), encoding="utf-8")


def compare(one: Path, other: Path) -> int:
    """Print a line per item; returns 1 where one differs."""
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (one, other))
    differ = 0
    for item in {**before, **after}:
        same = before.get(item) == after.get(item)
        missing = " (only in one)" if item not in before or item not in after else ""
        print(f"{'agree ' if same else 'DIFFER'} {item}{missing}")
        differ += not same
    print(f"{differ} of {len({**before, **after})} items differ")
    return int(differ > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("take", "compare", "child"))
    parser.add_argument("first", type=Path, help="a checkout, or a record")
    parser.add_argument("second", type=Path, help="a record")
    options = parser.parse_args()
    if options.what == "compare":
        return compare(options.first, options.second)
    (take if options.what == "take" else child)(options.first, options.second)
    return 0


if __name__ == "__main__":
    sys.exit(main())
