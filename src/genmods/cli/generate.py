"""`genmods generate`: images from a trained model, as PNG files, one grid and one array."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from genmods.cli import guidance, model_options
from genmods.cli.files import folder
from genmods.cli.progress import ProgressBar
from genmods.core.errors import UserError


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    model_options.checkpoint(parser)
    add("--n", type=int, default=64, help="how many images (default 64)")
    add("--out", required=True, type=folder, metavar="DIR", help="where 00000.png ..., grid.png and samples.npz go")
    add("--label", metavar="K", help="the class, by number or name; without it all classes in turn")
    add("--sampler", metavar="NAME", help="a sampler of `genmods list sampler` in place of the run's own")
    add("--steps", type=int, metavar="N", help="sampling steps")
    add("--seed", type=int, default=0, help="image i depends on it and on i alone (default 0)")
    add("--batch_size", type=int, default=256, help="images sampled together (default 256)")
    add("--raw", action="store_true", help="the raw weights in place of the averaged ones")
    add("--quiet", action="store_true", help="no progress bar")
    model_options.arguments(parser)
    guidance.arguments(parser)


def run(options: argparse.Namespace) -> None:
    if options.n < 1 or options.batch_size < 1:
        raise UserError(f"--n {options.n}, --batch_size {options.batch_size}: both must be at least 1")
    from genmods.runs import folders

    task: Any = folders.load(options.ckpt_path, options.raw)
    if not task.generates:
        raise UserError(f"--ckpt_path {options.ckpt_path}: a {type(task).__name__} generates no images")
    task = model_options.placed(task, options)
    settings = {"seed": options.seed, "batch_size": options.batch_size, **diffusion_settings(task, options)}
    with ProgressBar(options.quiet) as bar:
        images = task.sample(options.n, progress=bar, **settings).cpu()
    write(images, options.out, settings.get("labels"))
    print(f"{options.n} images in {options.out}, all on {options.out / 'grid.png'}")


def diffusion_settings(task: Any, options: argparse.Namespace) -> dict[str, Any]:
    """What a diffusion model takes beside seed and batch size; UserError where another model is given it."""
    import torch

    from genmods.tasks.diffusion import DiffusionTask

    if not isinstance(task, DiffusionTask):
        for name in ("label", "sampler", "steps", *guidance.SETTINGS):
            if getattr(options, name) is not None:
                raise UserError(f"--{name}: a {type(task).__name__} has no such setting")
        return {}
    labels = None
    if options.label is not None:
        labels = torch.full((options.n,), model_options.class_number(task, options.label, bool(options.classifier)))
    chosen = sampler(task, options.sampler, options.steps)
    return {"labels": labels, "guide": guidance.guide(task, options), "sampler": chosen}


def sampler(task: Any, name: str | None, steps: int | None) -> Any:
    """The task's sampler, or another one, with the number of steps that was asked for; raises UserError."""
    from dataclasses import replace

    from genmods.config.build import create

    chosen = create("sampler", name, steps=steps or task.sampler.steps) if name else task.sampler
    try:
        chosen = replace(chosen, steps=steps) if steps is not None else chosen
        chosen.time_grid(task.process)
    except ValueError as error:
        raise UserError(f"--steps: {error}") from None
    return chosen


def write(images: Any, folder: Path, labels: Any) -> None:
    """`images` [N, C, H, W] in [-1, 1] as numbered PNG files, `grid.png` and `samples.npz` (uint8 [N, H, W, C])."""
    import numpy as np

    from genmods.data.files import Picture, write_image
    from genmods.data.images import to_uint8
    from genmods.visual.picture import to_picture

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "samples.npz").is_file():  # of a larger run before
        for old in folder.glob("[0-9]" * 5 + ".png"):
            old.unlink()
    for number, image in enumerate(images):
        write_image(folder / f"{number:05d}.png", Picture(image, None, 8))
    to_picture(images, columns=max(1, round(len(images) ** 0.5))).save(folder / "grid.png")
    arrays = {"images": to_uint8(images).permute(0, 2, 3, 1).numpy()}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    np.savez_compressed(folder / "samples.npz", allow_pickle=False, **arrays)
