"""A toy task, and a reader of W&B's run file (a LevelDB log of protocol buffers)."""

import json
import struct
import sys
import time

import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

FIRST, MIDDLE, LAST = 2, 3, 4


def read_records(path, seconds=5):
    """All records of a `run-ID.wandb` file, which W&B's own process completes a moment after `finish` has returned."""
    deadline = time.monotonic() + seconds
    while not any(r.WhichOneof("record_type") == "exit" for r in parse(path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return parse(path)


def parse(path):
    """The records that the file holds now."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    position, partial, records = 7, b"", []
    while position + 7 <= len(data):
        room = 32768 - position % 32768
        if room < 7:
            position += room
            continue
        _, size, kind = struct.unpack("<IHB", data[position : position + 7])
        partial = (partial if kind in (MIDDLE, LAST) else b"") + data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind not in (FIRST, MIDDLE):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(partial)
            records.append(record)
    return records


def run_files(folder):
    """The W&B run files of a run folder, oldest first."""
    return sorted(folder.glob("wandb/*run-*/run-*.wandb"))


def history(path):
    """The history rows of a run file."""
    rows = []
    for record in read_records(path):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def config(path):
    """The configuration of a run file."""
    found = {}
    for record in read_records(path):
        update = {"run": record.run.config, "config": record.config}.get(record.WhichOneof("record_type"))
        for item in update.update if update else []:
            found[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    return found


class Toy(LightningModule):
    """One linear layer that logs as the package's tasks do."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        loss = self.layer(batch[0]).square().mean()
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val/loss", self.layer(batch[0]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader(n=32, batch=4):
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(n, 4, generator=generator)), batch_size=batch)


def trainer(folder, loggers, steps=12, callbacks=(), **settings):
    """A quiet trainer that logs every second step and validates every fourth."""
    return Trainer(
        default_root_dir=folder,
        logger=loggers,
        max_steps=steps,
        log_every_n_steps=2,
        val_check_interval=4,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=list(callbacks),
        **{"enable_checkpointing": False} | settings,
    )


def fit(folder, loggers, **settings):
    """Train the toy in `folder`."""
    model = Toy()
    trainer(folder, loggers, **settings).fit(model, loader(), loader())
    return model


if __name__ == "__main__":
    from pathlib import Path

    from genmods.tracking.csv import MetricsFile
    from genmods.tracking.wandb import WandbRun

    folder = Path(sys.argv[1])
    loggers = [MetricsFile(), WandbRun()]
    for logger in loggers:
        logger.begin(folder, {"seed": 1})
    fit(folder, loggers)
    for logger in loggers:
        logger.close()
