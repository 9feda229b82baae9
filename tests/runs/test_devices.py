"""The same recipe on two devices: every task that trains gives each of its parameters a gradient on every rank."""

import os
import subprocess
import sys

import pytest

from genmods import checkpoint as files
from genmods.recipe.shipped import shipped

SMALL = ["--data.limit=32", "--data.batch_size=8", "--trainer.max_steps=2", "--callbacks=[]", "--logger=null"]
TWO = ["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp_fork"]


@pytest.mark.parametrize("name", ["cnn", "ddpm", "gan", "likelihood", "vae"])
def test_two_ranks_train_as_one(tmp_path, name):
    command = [sys.executable, "-m", "genmods", "fit", "--config", str(shipped()[name]), *SMALL, *TWO, "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (last,) = tmp_path.glob("runs/*/*/checkpoints/last.ckpt")
    assert files.load(last)["global_step"] == 2


def test_rank_zero_names_the_folder(tmp_path):
    """Under torchrun every rank is a process of its own, and here the second one starts seconds later."""
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
