"""A classifier's training against the clock: seconds until it is right on a share of the test images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from common import bare_trainer, synchronise
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from genmods.config.recipe import Recipe
from genmods.data.images import Images, to_float
from genmods.runs.fit import build_data, build_task
from genmods.tasks.base import Task


@dataclass
class Race:
    """One run against the clock: `seconds` of training so far, and seconds and accuracy after each epoch."""

    test: Images
    target: float
    cap: float
    seconds: float = 0.0
    accuracies: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    _since: float = 0.0

    def start(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        synchronise()
        self.seconds += time.perf_counter() - self._since

    def late(self) -> bool:
        return self.seconds + time.perf_counter() - self._since > self.cap

    def judge(self, answer: Callable[[Tensor], Tensor]) -> bool:
        """Tests `answer`, images in [-1, 1] to scores, off the clock; whether the race is over."""
        self.pause()
        self.ends.append(self.seconds)
        with torch.no_grad():
            right = [
                answer(to_float(pixels)).argmax(1) == labels
                for pixels, labels in zip(self.test.pixels.split(500), self.test.labels.split(500), strict=True)
            ]
        self.accuracies.append(round(100 * float(torch.cat(right).float().mean()), 2))
        self.start()
        return self.arrived or self.late()

    @property
    def arrived(self) -> bool:
        return bool(self.accuracies) and self.accuracies[-1] >= self.target and self.seconds <= self.cap

    def result(self) -> dict[str, Any]:
        return {
            "seconds": round(self.seconds if self.arrived else self.cap, 1),
            "arrived": self.arrived,
            "accuracies": self.accuracies,
        }


class Judge(Callback):
    """Ends a Trainer's run when the race is over."""

    def __init__(self, race: Race):
        self.race = race

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.should_stop or self.race.late()

    def on_train_epoch_end(self, trainer: Trainer, task: Any) -> None:
        task.eval()
        with trainer.precision_plugin.forward_context():
            trainer.should_stop = self.race.judge(lambda images: task.model.probabilities(images.to(task.device)).cpu())
        task.train()


def ours(race: Race, recipe: Recipe) -> Task:
    """A classification recipe trained by Lightning's Trainer to the end of the race, or of the recipe."""
    data = build_data(recipe)
    task = build_task(recipe, data.info)
    trainer = bare_trainer(task, recipe.trainer.given, Judge(race))
    race.start()
    task.fit_statistics({"image": to_float(data.splits["train"].pixels[:5000])})
    trainer.fit(task, data)
    return task
