"""Progress of a training, outside of a terminal and inside of one."""

import re
import sys

from lightning.pytorch import Trainer
from test_norms_and_throughput import Line
from torch import tensor
from torch.utils.data import DataLoader, TensorDataset

from genmods.callbacks.progress import TrainingProgress


def fit(folder):
    data = DataLoader(TensorDataset(tensor([[3.0, 4.0]]).repeat(16, 1)), batch_size=4)
    Trainer(
        default_root_dir=folder,
        logger=False,
        callbacks=[TrainingProgress()],
        max_steps=8,
        accelerator="cpu",
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    ).fit(Line(), data, data)


def test_plain_lines_in_a_pipe(tmp_path, capsys):
    fit(tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert [line.split()[1] for line in lines] == ["4/8", "8/8"]
    assert all("images/s" in line and not re.search(r"[\x00-\x1f]", line) for line in lines)


def test_one_bar_in_a_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(tmp_path)
    assert "8/8" in capsys.readouterr().err
