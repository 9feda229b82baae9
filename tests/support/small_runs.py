"""Recipes of runs that take a second, in the working folder."""

from __future__ import annotations

from genmods.config.recipe import load
from genmods.config.text import write
from genmods.core.places import runs_folder

CNN = {"name": "cnn", "layers": ["conv 4", "pool 2", "linear 8"]}
DIGITS = {"name": "digits", "batch_size": 100, "limit": 200}
DIFFUSION = {"name": "diffusion", "network": "unet", "process": "cosine", "prediction": "v"}
SHAPES = {"name": "synthetic", "side": 8, "channels": 1, "classes": 3, "train_images": 90, "batch_size": 30}
TRAINER = {"max_steps": 2, "enable_progress_bar": False, "accelerator": "cpu"}


def recipe(task, data=DIGITS, overrides=(), name="later", **sections):
    path = runs_folder() / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(write({"name": name, "seed": 1, "task": task, "data": data, "trainer": TRAINER, **sections}))
    return load(path, overrides)


def classifier(network, data=DIGITS, overrides=(), **sections):
    return recipe({"name": "classification", "network": network}, data, overrides, **sections)
