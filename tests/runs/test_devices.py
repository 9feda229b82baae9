"""The same recipe on two devices: every task that trains gives each of its parameters a gradient on every rank."""

import os
import subprocess
import sys

import pytest

from genmods.config.shipped import shipped
from genmods.core import checkpoint as files

SMALL = ["--data.limit=32", "--data.batch_size=8", "--trainer.max_steps=2", "--callbacks=[]", "--logger=null"]
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp_fork"]


RECIPES = ["cnn", "ddpm", "gan", "likelihood", "vae"]
FITS = """
import sys
from genmods.cli import dispatch
for recipe in sys.argv[1].split(","):
    assert dispatch(["fit", "--config", recipe, *sys.argv[2:]]) == 0, recipe
"""
"""Every recipe in one process, which imports torch once and forks both ranks of each."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The output of the process that ran all recipes, and the folder of the runs."""
    folder, environment = tmp_path_factory.mktemp("trained"), os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", FITS, ",".join(str(shipped()[name]) for name in RECIPES), *SMALL, *TWO, "--quiet"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    return folder, done.stderr


@pytest.mark.parametrize("name", RECIPES)
def test_two_ranks_train_as_one(trained, name):
    folder, told = trained
    runs = list(folder.glob(f"runs/{name}/*/checkpoints/last.ckpt"))
    assert len(runs) == 1, told[-2000:]
    assert files.load(runs[0])["global_step"] == 2


def test_rank_zero_names_the_folder(tmp_path):
    """Under torchrun every rank is a separate process; here the second one starts seconds later."""
    late = "import os, runpy, time\ntime.sleep(3 * int(os.environ['RANK']))\n"
    (tmp_path / "late.py").write_text(late + "runpy.run_module('genmods', run_name='__main__')\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "late.py"]
    two = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp"]
    command = [*torchrun, "fit", "--config", str(shipped()["cnn"]), *SMALL, *two]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = tmp_path.glob("runs/*/*")
    assert (run / "checkpoints" / "last.ckpt").is_file() and (run / "recipe.yaml").is_file()
    assert done.stderr.count("next ") == 1
