"""Every shipped recipe is valid and runs for a few steps, by the command in its header; a new one on arrival."""

import re
from functools import cache

import pytest
import torch

from genmods import create
from genmods.cli import dispatch
from genmods.config.parts import From
from genmods.config.recipe import load
from genmods.config.shipped import shipped
from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.core.places import runs_folder
from genmods.data.files import Picture, write_image
from genmods.data.sources.mnist import FashionMNIST
from genmods.models import Generates
from genmods.runs import folders, reuse
from genmods.runs.evaluate import evaluate
from genmods.runs.fit import fit

RECIPES = shipped()
BY_RUN = {name.replace("/", "-"): name for name in RECIPES}
SMALL = {"n": 2, "samples": 2, "steps": 3}
QUICK = ["--data.limit=8", "--data.batch_size=4", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
QUICK += ["--logger=null"]
FIT = ["--trainer.max_steps=3", "--trainer.check_val_every_n_epoch=null"]
FIT += ["--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1"]


def command(name):
    """The command in a recipe's header."""
    found = re.search(r"^# Command: +python -m genmods (\w+) --config (\S+)", RECIPES[name].read_text(), re.MULTILINE)
    assert found, f"{name}: the header has no command"
    assert found[2] == f"recipes/{name}.yaml"
    return found[1]


def quick(name, photos):
    """The recipe made small: few images, few steps of every kind."""
    overrides = [*QUICK, *(FIT if command(name) == "fit" else [])]
    task = load(RECIPES[name]).task
    if task.model and "sampler" in task.model.settings():
        overrides += [
            "--task.sampler.steps=3",
            *([] if "sampler" in task.model.given else ["--task.sampler.name=ddim"]),
        ]
    recipe = load(RECIPES[name], overrides)
    source = recipe.data.given["source"]
    if source.entry.name == "fashion_mnist" and not fashion_mnist_is_here():
        pytest.skip("Fashion-MNIST is not here")
    if source.entry.name == "image_folder":
        source.given["root"] = str(photos)
        if (photos / f"{recipe.task.entry.name}.csv").is_file():
            source.given["labels"] = f"{recipe.task.entry.name}.csv"
    for part in [part for root in (recipe.task, *recipe.callbacks) for part in reuse.parts(root)]:
        if isinstance(part, From):
            before = part.run.removeprefix("runs/")
            assert before in BY_RUN, f"{name}: {part.run} is no folder of a shipped recipe's runs"
            if not (runs_folder() / before).is_dir():
                carry_out(BY_RUN[before], photos)
        elif part.kind in ("callback", "task", "model"):
            part.given |= {key: value for key, value in SMALL.items() if key in part.settings()}
        elif part.kind == "network" and "width" in part.given:
            part.given["width"] = min(part.given["width"], 8)
        elif part.kind == "network" and part.given.get("weights"):
            part.given["weights"] = weights_for(part, photos)
    return recipe


def weights_for(part, photos):
    """A file of weights, with the initial ones."""
    pytest.importorskip("timm")
    path = photos / "weights.pth"
    torch.save(create("network", part.entry.name, architecture=part.given["architecture"]).model.state_dict(), path)
    return str(path)


def carry_out(name, photos):
    recipe = quick(name, photos)
    if command(name) == "fit":
        folder = fit(recipe, quiet=True)
        assert files.load(folder / "checkpoints" / "last.ckpt")["global_step"] == 3
        return folder
    assert evaluate(recipe, command(name), None, quiet=True).found
    return None


@cache
def fashion_mnist_is_here():
    try:
        return bool(FashionMNIST().read())
    except UserError:
        return False


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder for all runs, with class folders of colour images of several sizes, tables of labels, and pairs."""
    folder = tmp_path_factory.mktemp("workplace")
    generator = torch.Generator().manual_seed(0)
    (folder / "photos").mkdir()
    for task, columns in (("multilabel", "red,round"), ("regression", "age,kg")):
        rows = [f"{k},{k % 2},{k % 2 if k % 3 else 1 - k % 2}" for k in range(36)]
        values = rows if task == "multilabel" else [f"{k},{k},{k / 7}" for k in range(36)]
        (folder / "photos" / f"{task}.csv").write_text("\n".join([f"id,{columns}", *values]))
    for k in range(36):
        image = torch.rand(3, 40 + k, 75 - k, generator=generator) * 2 - 1
        path = folder / "photos" / ("cat", "dog", "eel")[k % 3] / f"{k}.png"
        pairs = [folder / "emoji_lines" / "train" / name / f"{k}.png" for name in ("input", "target")]
        for each in (path, *pairs):
            each.parent.mkdir(parents=True, exist_ok=True)
            write_image(each, Picture(image))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_in_order_and_short(name, capsys):
    assert dispatch(["check", str(RECIPES[name])]) == 0, capsys.readouterr().err
    text = RECIPES[name].read_text()
    assert text.startswith("# ") and len(text.splitlines()) <= 40
    command(name)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs(name, workplace):
    folder = carry_out(name, workplace / "photos")
    if folder is None:
        return
    model = folders.load(folder)
    assert not model.training
    if isinstance(model, Generates):
        images = model.sample(2)
        assert images.shape == (2, *model.image_shape) and images.abs().max() <= 1
