"""Random recipes of matching and other parts: what `check` calls OK, `fit` can build and train for two steps.

nox -s torture -- checked
"""

import random
import re
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.cli import dispatch
from genmods.config.builtins import BUILTINS
from support.torture import called, command, main

SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"layers": ["conv 4", "pool 2", "linear 8"]},
    "dit": {"width": 16, "depth": 1, "heads": 2},
    "mlp": {"width": 16},
    "plain_unet": {"width": 8, "multipliers": [1, 2], "blocks": 1},
    "resnet": {"width": 4},
    "unet": {"width": 8, "multipliers": [1, 2], "blocks": 1},
    "unet_mp": {"width": 8, "multipliers": [1, 2], "blocks": 1},
    "vdm": {"width": 8, "depth": 1},
}
NETWORKS = {
    "classification": ["cnn", "resnet", "mlp", "autoencoder", "unet"],
    "regression": ["cnn", "resnet"],
    "multilabel": ["cnn", "mlp"],
    "vae": ["autoencoder", "cnn"],
    "gan": ["generator", "unet"],
    "restoration_network": ["plain_unet", "unet", "cnn"],
}
DENOISERS = ["unet", "dit", "vdm", "mlp", "unet_mp", "cnn"]
OF_THE_DATA = r"from the data|per image, got \[|no validation data|paired data|requires images of"
"""Refusals by `fit` of what depends on the data."""


def network(chance: random.Random, names: list[str]) -> dict[str, Any]:
    name = chance.choice(names)
    made = {"name": name, **SMALL.get(name, {})}
    if chance.random() < 0.2:
        made["dropout"] = 0.1
    if chance.random() < 0.1:
        made["freeze"] = chance.choice([["*"], ["head"], []])
    return made


def some(chance: random.Random, section: dict[str, Any], share: float, **kinds: str) -> None:
    """Give a section a random part of each kind with a probability."""
    for key, kind in kinds.items():
        if chance.random() < share:
            section[key] = chance.choice(sorted(BUILTINS[kind]))


def task(chance: random.Random) -> dict[str, Any]:
    name = chance.choice(["diffusion"] * 4 + ["mean_flow", "consistency", "ot_flow"] + [*NETWORKS])
    made: dict[str, Any] = {"name": name, "network": network(chance, NETWORKS.get(name, DENOISERS))}
    if name not in NETWORKS:
        some(chance, made, 1.0, process="process", prediction="prediction")
        some(chance, made, 0.4, sampler="sampler", density="density", conditioning="conditioning")
        if name == "diffusion":
            some(chance, made, 0.5, weighting="weighting")
    elif name == "gan":
        made["discriminator"] = network(chance, ["discriminator", "cnn", "resnet"])
    elif name == "restoration_network":
        made["level"] = chance.choice(["blind", "known", "map"])
        some(chance, made, 0.6, corruption="corruption", loss="restoration_loss", operator="operator")
    return made


def callbacks(chance: random.Random) -> list[dict[str, Any]]:
    names = chance.sample(sorted(set(BUILTINS["callback"]) - {"compile"}), chance.choice([0, 1, 2, 3]))
    more = {
        "evaluation": {"metrics": chance.sample(sorted(BUILTINS["metric"]), 2), "n": 16},
        "sample_grid": {"n": 4},
        "ema": {"decays": [0.9]},
    }
    return [{"name": name, **more.get(name, {})} for name in names]


def recipe(chance: random.Random) -> dict[str, Any]:
    synthetic = {"side": chance.choice([8, 12, 16]), "channels": chance.choice([1, 3]), "train_images": 64}
    data: dict[str, Any] = {"name": "synthetic", **synthetic} if chance.random() < 0.6 else {"name": "digits"}
    data |= {"batch_size": 8, "limit": 40}
    some(chance, data, 0.3, augment="augmentation")
    if "augment" in data:
        data["augment"] = [] if data["augment"] == "torchvision" else [data["augment"]]
    made: dict[str, Any] = {"task": task(chance), "data": data, "callbacks": callbacks(chance), "logger": "csv"}
    some(chance, made, 0.4, optimizer="optimizer", schedule="schedule")
    if "optimizer" in made:
        made["optimizer"] = {"name": made["optimizer"], "lr": 1e-3}
    made["trainer"] = {"max_steps": 2, "accelerator": "cpu", "enable_progress_bar": False, "limit_val_batches": 1}
    return made


def attack(chance: random.Random, folder: Path) -> str:
    """Draw recipes until `check` calls one OK; `fit` trains it, or names what of the data does not suit it."""
    for _ in range(40):
        text = yaml.safe_dump(recipe(chance), sort_keys=False)
        (folder / "r.yaml").write_text(text)
        done = called(dispatch, ["check", "r.yaml"])
        if fault := done.fault(0, 2):
            return f"check: {fault}: {text}"
        if done.status == 0:
            break
    else:
        return ""
    trained = command("fit", "--config", "r.yaml", "--quiet")
    if fault := trained.fault(0, 2):
        return f"fit: {fault}: {text}"
    suits = trained.status == 0 or re.search(OF_THE_DATA, trained.err)
    return "" if suits else f"check is OK, fit: {trained.err.strip().splitlines()[-1]}: {text}"


if __name__ == "__main__":
    sys.exit(main("checked"))
