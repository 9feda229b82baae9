"""Three ranks with two workers each on sharded archives, killed and resumed: each sample once an epoch.

nox -s torture -- ranks
"""

import contextlib
import io
import os
import random
import signal
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from lightning.pytorch import Callback
from PIL import Image

from genmods import register
from support.torture import Command, main

SAMPLES, BATCH, WORLD, EPOCHS = 100, 4, 3, 4
STEPS = EPOCHS * (SAMPLES // (BATCH * WORLD))
RECIPE = f"""
name: r
seed: 3
task: {{name: classification, network: {{name: cnn, layers: ["conv 4", "avgpool"]}}}}
data:
  {{name: shards, root: shards, batch_size: {BATCH}, num_workers: 2, memory: 1kB, val_fraction: 0, test_fraction: 0}}
trainer: {{max_steps: {STEPS}, enable_progress_bar: false, accelerator: cpu, devices: {WORLD}, strategy: ddp_fork}}
callbacks: [{{name: checkpoint, every_n_steps: 2}}, drawn]
logger: csv
"""


class Drawn(Callback):
    """Writes the samples of each training step, a file per rank; a step that is done again adds a line."""

    def on_train_batch_start(self, trainer, task, batch, index):
        with open(f"drawn-{trainer.global_rank}.txt", "a") as file:
            print(trainer.global_step, *batch["index"].tolist(), file=file)


def write_shards(folder: Path) -> None:
    folder.mkdir()
    for shard in range(5):
        with tarfile.open(folder / f"train-{shard}.tar", "w") as tar:
            for i in range(shard * SAMPLES // 5, (shard + 1) * SAMPLES // 5):
                pixels = np.random.default_rng(i).integers(0, 256, (6, 6, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(image := io.BytesIO(), "png")
                for name, content in ((f"{i:03}.png", image.getvalue()), (f"{i:03}.cls", str(i % 3).encode())):
                    (info := tarfile.TarInfo(name)).size = len(content)
                    tar.addfile(info, io.BytesIO(content))


def drawn(folder: Path) -> dict[tuple[int, int], set[tuple[int, ...]]]:
    """(rank, step) -> the batches that were trained on, one if a repeated step has the same samples."""
    found: dict[tuple[int, int], set[tuple[int, ...]]] = {}
    for rank in range(WORLD):
        for line in (folder / f"drawn-{rank}.txt").read_text().splitlines():
            step, *samples = map(int, line.split())
            found.setdefault((rank, step), set()).add(tuple(samples))
    return found


def prepare() -> None:
    register("callback", "drawn")(Drawn)


def kill_after(command: Command, lines: Path, steps: int) -> None:
    """Kill all ranks once so many steps have been begun, unless the command ends before."""
    count = lambda: len(lines.read_bytes().splitlines()) if lines.exists() else 0  # noqa: E731
    end = count() + steps
    while count() <= end and os.waitid(os.P_PID, command.id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.id, signal.SIGKILL)


def attack(chance: random.Random, folder: Path) -> str:
    (folder / "recipe.yaml").write_text(RECIPE)
    write_shards(folder / "shards")
    for kills in range(chance.randint(1, 4), -1, -1):
        command = Command(["fit", "--config", "recipe.yaml", "--ckpt_path", "auto"], folder, prepare)
        if kills:
            kill_after(command, folder / "drawn-0.txt", chance.randint(0, 12))
        done = command.wait(300)
        if done.status == 0:
            break
        if done.status != -signal.SIGKILL or not kills:
            return done.fault(0)
    batches = drawn(folder)
    if len(batches) != WORLD * STEPS or any(len(same) > 1 for same in batches.values()):
        return f"{len(batches)} of {WORLD * STEPS} batches, or another one after a resume"
    for epoch in range(EPOCHS):
        steps = range(epoch * STEPS // EPOCHS, (epoch + 1) * STEPS // EPOCHS)
        count = Counter(i for (_, step), same in batches.items() if step in steps for i in next(iter(same)))
        if set(count.values()) != {1} or SAMPLES - len(count) > WORLD * BATCH - 1:
            return f"epoch {epoch}: {count.most_common(3)}, {len(count)} samples"
    return (
        ""
        if f"{SAMPLES - STEPS // EPOCHS * WORLD * BATCH} of {SAMPLES}" in done.err
        else "left-over samples are not told"
    )


if __name__ == "__main__":
    sys.exit(main("ranks"))
