"""Whether two checkouts compute the same, bit for bit.

    python benchmarks/record.py take OLD old.json                    # a few minutes of one core
    python benchmarks/record.py take NEW new.json --recipes OLD      # the same recipes in the other checkout
    python benchmarks/record.py compare old.json new.json

A record holds one hash per item: the weights after 50 steps of each recipe (small networks, synthetic stand-ins for
data that must be fetched), the images of each sampler and the results of each restoration method from one checkpoint.
Everything goes through `python -m genmods` and registered names, in float32 on one thread, so that modules and classes
may be renamed between the checkouts; parts that were renamed are in RENAMED. An item that fails is recorded with its
message. `--only cnn,vae,drawn` takes some recipes, and `drawn` the samples and restorations. `compare` lists the items
that differ, fail or exist on one side only, and exits with status 1 if there are any.
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
task: {name: diffusion, network: {name: mlp, width: 64}, process: PROCESS, prediction: v}
data: {name: digits, batch_size: 64}
optimizer: {name: adamw, lr: 2e-3, weight_decay: 0.01}
schedule: {name: cosine, warmup: 20}
trainer: {max_steps: 200, gradient_clip_val: 1.0}
callbacks: [{name: ema, decays: [0.9]}]
"""
"""The model of samplers and methods: none of the recipes', so that a change of those is not taken for one of theirs."""
WARMUP = 20
RENAMED = {
    "network": {"fast_cnn": "airbench"},
    "sampler": {"heun": "edm_heun", "flow": "flow_ode"},
    "conditioning": {"none": "unconditional", "mask": "masked_image"},
    "augmentation": {
        "shift": "translate",
        "colour": "color_jitter",
        "crop": "random_resized_crop",
        "erasing": "random_erasing",
    },
    "operator": {"greyscale": "grayscale"},
}
"""New names by kind and old name."""
MEASURED = {"box": 8, "average": 4}  # operator: side of the image that it measured


def genmods(*words: str) -> str:
    """What one command prints; raises RuntimeError, with the last line on stderr, where its status is not 0."""
    from genmods.__main__ import main

    sys.argv = ["genmods", *words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main()
    if status:
        raise RuntimeError((err.getvalue().strip().splitlines() or [f"status {status}: {' '.join(words)}"])[-1])
    return out.getvalue()


def names(kind: str) -> list[str]:
    """The registered parts of a kind; none if the checkout has no such kind."""
    rows = dict(line.split(maxsplit=1) for line in genmods("list").splitlines() if " " in line)
    return [name.strip() for name in rows.get(kind, "").split(",")]


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
    """The content of each recipe of a checkout; those that take parts of an earlier run come last."""
    import yaml

    folder = checkout / "recipes"
    read = {
        str(path.relative_to(folder).with_suffix("")): yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.yaml"))
    }
    return dict(sorted(read.items(), key=lambda item: "'from'" in str(item[1])))


def translated(value: Any, kind: str = "") -> Any:
    """A recipe with the names of parts that the imported genmods has."""
    if isinstance(value, dict):
        kinds = {"name": kind, "augment": "augmentation"}
        return {key: translated(item, kinds.get(key, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [translated(item, kind) for item in value]
    new = RENAMED.get(kind, {}).get(value, value) if isinstance(value, str) else value
    return new if new != value and new in names(kind) else value


def overrides(recipe: dict[str, Any]) -> list[str]:
    """Small networks and batches and a short warm-up for a recipe, as options of the command line."""
    found = ["--data.batch_size=16"]
    for slot in ("network", "discriminator"):
        settings = recipe["task"].get(slot)
        for name in SMALL.keys() & (settings if isinstance(settings, dict) else {}).keys():
            found.append(f"--task.{slot}.{name}={SMALL[name]}")
    data = recipe["data"] if isinstance(recipe["data"], dict) else {}
    if data.get("name") == "image_folder":
        found += ["--data.root=photos", "--data.image_size=16"]
    if recipe["task"].get("density") == "low_discrepancy":  # its times are drawn per rank now
        found.append("--task.density=uniform")
    if "warmup" in (recipe.get("schedule") or {}):  # in steps in all checkouts; of late, shares of the run, too
        found.append(f"--schedule.warmup={WARMUP}")
    return found


def trained(checkout: Path, only: set[str]) -> Iterator[tuple[str, str]]:
    import yaml

    for name, recipe in recipes(checkout).items():
        if only and name not in only:
            continue
        run = name.replace("/", "-")
        Path(f"{run}.yaml").write_text(yaml.safe_dump(translated(recipe), sort_keys=False), encoding="utf-8")
        restores = recipe["task"]["name"] == "restoration"
        item = f"{'figures' if restores else 'weights'} of {name}"
        try:
            yield item, figures(run, recipe) if restores else fitted(run, recipe)
        except RuntimeError as error:
            yield item, f"failed: {error}"


def figures(run: str, recipe: dict[str, Any]) -> str:
    """The hash of what `test` finds, in any order of its names."""
    fast = ["--task.steps=3", "--data.limit=8", "--logger=null", "--trainer.precision=32-true"]
    genmods("test", "--config", f"{run}.yaml", "--quiet", *overrides(recipe), *fast, "--trainer.accelerator=cpu")
    (written,) = Path("runs").glob(f"{run}/*/test.json")
    found = json.loads(written.read_text())
    values = sorted(value for name, value in found.get("figures", found).items() if "/" in name)
    return hashlib.blake2b(repr(values).encode(), digest_size=12).hexdigest()


def fitted(run: str, recipe: dict[str, Any]) -> str:
    """The hash of the weights after STEPS steps."""
    genmods("fit", "--config", f"{run}.yaml", "--quiet", *overrides(recipe), f"--trainer.max_steps={STEPS}", *TRAIN)
    return weights(run)


def png(folder: Path) -> str:
    import numpy as np
    from PIL import Image

    return digest(np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png")))


def drawn() -> Iterator[tuple[str, str]]:
    """Samples and restorations by one checkpoint, in 8 bits and in 16."""
    for process in ("rectified", "cosine"):
        Path("mlp.yaml").write_text(DENOISER.replace("PROCESS", process), encoding="utf-8")
        genmods("fit", "--config", "mlp.yaml", "--quiet", *TRAIN)
        yield f"weights of the mlp, {process}", weights("mlp")
        run = str(newest("mlp"))
        yield from sampled(run, process)
    for operator, side in MEASURED.items():
        for method in names("method"):
            out = Path("restored") / operator / method
            words = ["restore", "--ckpt_path", run, "--input", f"measured/{side}", "--out", str(out), "--steps", "8"]
            words += ["--operator", operator, "--method", method, "--sigma", "0", "--quiet"]
            yield attempt(f"{operator} undone by {method}", out, words)
    out = Path("restored/denoise")
    words = ["denoise", "--ckpt_path", run, "--input", "measured/8", "--out", str(out), "--sigma", "25", "--quiet"]
    yield attempt("denoising", out, words)


def sampled(run: str, process: str) -> Iterator[tuple[str, str]]:
    """Samples of one checkpoint by each sampler; some do not take every process."""
    for sampler in names("sampler"):
        out = Path("samples") / process / sampler
        words = ["generate", "--ckpt_path", run, "--n", "16", "--steps", "6", "--sampler", sampler, "--out", str(out)]
        item = f"samples of {RENAMED['sampler'].get(sampler, sampler)}, {process}"
        yield attempt(item, out, [*words, "--quiet"])


def attempt(item: str, out: Path, words: list[str]) -> tuple[str, str]:
    """The hash of the pictures that a command writes; a method need not know every operator."""
    try:
        genmods(*words)
    except RuntimeError as error:
        return item, f"failed: {error}"
    return item, png(out)


def take(checkout: Path, record: Path, source: Path, only: str) -> None:
    """Run `child` in a fresh process that imports genmods from a checkout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "GENMODS_"))}
    environment |= {"PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(Path(__file__).resolve()), "child", str(checkout.resolve()), str(record.resolve())]
    with tempfile.TemporaryDirectory() as folder:
        extra = ["--recipes", str(source.resolve()), "--only", only]
        subprocess.run([*command, *extra], cwd=folder, env=environment, check=True)


def child(checkout: Path, record: Path, source: Path, only: str) -> None:
    import torch

    import genmods as package

    assert Path(str(package.__file__)).is_relative_to(checkout), f"genmods is imported from {package.__file__}"
    torch.set_num_threads(1)
    stand_ins()
    wanted = {name for name in only.split(",") if name}
    groups = [trained(source, wanted)]
    if not wanted or "drawn" in wanted:
        groups.append(drawn())
    found: dict[str, str] = {}
    for items in groups:
        for item, value in items:
            found[item] = value
            print(f"{item}: {value}", flush=True)
            record.write_text(json.dumps(found, indent=1), encoding="utf-8")


def compare(one: Path, other: Path) -> int:
    """Print the items that agree in number and all others by name; returns 1 if there are others."""
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (one, other))
    found: dict[str, list[str]] = {"agree": [], "fail on both sides": [], "differ": [], "fail": [], "on one side": []}
    for item in {**before, **after}:
        pair = [str(record.get(item, "")) for record in (before, after)]
        failed = [value.startswith("failed") for value in pair]
        kind = "on one side" if "" in pair else "fail on both sides" if all(failed) else "fail" if any(failed) else ""
        found[kind or ("agree" if pair[0] == pair[1] else "differ")].append(item)
    for kind, items in found.items():
        print(f"{kind}: {len(items)}")
        for item in items if kind != "agree" else ():
            values = {path.name: record[item] for path, record in ((one, before), (other, after)) if item in record}
            print(f"  {item}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
    return int(any(found[kind] for kind in ("differ", "fail", "on one side")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("take", "compare", "child"))
    parser.add_argument("first", type=Path, help="a checkout, or a record")
    parser.add_argument("second", type=Path, help="a record")
    parser.add_argument("--recipes", type=Path, help="the checkout whose recipes are trained, by default the first")
    parser.add_argument("--only", default="", help="comma-separated recipes, and `drawn`")
    options = parser.parse_args()
    if options.what == "compare":
        return compare(options.first, options.second)
    call = take if options.what == "take" else child
    call(options.first, options.second, options.recipes or options.first, options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
