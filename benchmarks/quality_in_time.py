"""What ten minutes of training on Fashion-MNIST give: ours, denoising-diffusion-pytorch's Trainer, diffusers' example.

lucidrains  its Trainer on a folder of PNG files, at its defaults: batch 16, Adam 1e-4, flips, EMA 0.995 every 10 steps,
            v and the sigmoid schedule; its samples and FID while training, which would cost it time, are off.
diffusers   the loop of its unconditional example, written from the defaults that it documents: batch 16, random crop,
            AdamW 1e-4 (0.95, 0.999), weight decay 1e-6, cosine with 500 steps of warm-up over 100 epochs, clipping at
            1, EMA with power 3/4, DDPM with 1,000 linear steps, fp32.
ours        recipes/fashion_mnist/ddpm.yaml, its schedule fitted to the time by the speed of its first steps; by --only
            also with the networks of `training_step.py` in place of 2 x 2 patches: what do shape and patches cost?

Both peers work on 1 x 32 x 32, the images with a black border of 2 pixels, and have the networks of `peers.py` (1.4 and
1.6 M parameters, ours has 1.7 M); the border is cut off before the features. The clock counts training and loading.
Then 2,000 samples each by DDIM in 50 steps and their FID with a 95 % interval; ours also of what it had on the way,
until it has reached the better peer. All train first, one after the other, on an otherwise idle machine; the trained
weights are stored next to the JSON, so that sampling, which is not timed, can be continued later.

    python benchmarks/quality_in_time.py --features runs/fashion_mnist-cnn --out docs/figures/quality_in_time.json
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import machine, synchronise
from lightning.pytorch import Callback, Trainer
from quality_peers import Clock, Contender, Diffusers, Lucidrains, Sample, Trained, Weights
from torch import Tensor

from genmods.callbacks.ema import EMA, averaged_tensors
from genmods.config.recipe import Recipe, load
from genmods.core.atomic import cache as cache_folder
from genmods.core.precision import BFLOAT16, resolve
from genmods.diffusion import DDIMSampler
from genmods.metrics.base import EvaluationData, MetricValue
from genmods.metrics.features import classifier_features
from genmods.metrics.frechet import FrechetDistance
from genmods.runs import folders
from genmods.runs.fit import build_data, build_task

RECIPE = Path(__file__).parents[1] / "recipes/fashion_mnist/ddpm.yaml"
BATCH = 50


class Watch(Callback):
    """Stops a Trainer in time, and keeps the averaged weights once in `every` seconds, off the clock.

    The clock starts after the first `warm_up` steps.
    """

    def __init__(self, clock: Clock, ema: EMA, every: float, warm_up: int = 0):
        self.clock, self.ema, self.every, self.warm_up = clock, ema, every, warm_up
        self.kept: dict[float, dict[str, Tensor]] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == self.warm_up:
            synchronise()
            self.clock.go_on()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step <= self.warm_up:
            return
        if self.clock.read() >= self.every * (len(self.kept) + 1):
            self.pause()
            self.keep()
            self.clock.go_on()
        trainer.should_stop = self.clock.read() > self.clock.limit

    def pause(self) -> None:
        """Stop the clock once the device has done what it was given."""
        synchronise()
        self.clock.stop()

    def keep(self) -> None:
        self.kept[round(self.clock.seconds, 1)] = copy.deepcopy(self.ema.shadows[0])


@dataclass
class Ours:
    """The recipe, with `overrides`."""

    overrides: tuple[str, ...] = ()
    device: str = "cpu"

    def train(self, pixels: Tensor, limit: float) -> Trained:
        """The pace is that of 20 steps of a copy, after 10 that do not count (a GPU chooses its algorithms in them).

        It falls short by 3 % so that the schedule ends in time.
        """
        pace = self.fitted(30, float("inf"), warm_up=10)[1].clock.seconds / 20
        steps, watch = self.fitted(max(2, int(0.97 * limit / pace)), limit)
        watch.keep()
        return Trained(steps, watch.kept)

    def sampler(self, weights: Weights) -> Sample:
        recipe = load(str(RECIPE), list(self.overrides))
        task: Any = build_task(recipe, build_data(recipe).info).eval().to(self.device)
        for name, tensor in averaged_tensors(task).items():
            tensor.data = weights[name]

        def sample(first: int, n: int) -> Tensor:
            with torch.autocast(self.device, torch.bfloat16, enabled=self.precision(recipe) == BFLOAT16):
                return task.model.sample(n, sampler=DDIMSampler(50), first=first)

        return sample

    def precision(self, recipe: Recipe) -> str:
        """In training and in sampling: what the recipe asks for, on this device."""
        return resolve(recipe.trainer.given["precision"], torch.device(self.device)).value

    def fitted(self, steps: int, limit: float, warm_up: int = 0) -> tuple[int, Watch]:
        """The recipe trained for so many steps: how many it came to, and what was kept."""
        fit = [f"--trainer.max_steps={steps}", f"--schedule.warmup={min(300, steps // 10)}"]
        recipe = load(str(RECIPE), [*fit, *self.overrides])
        data = build_data(recipe)
        task: Any = build_task(recipe, data.info)
        ema = EMA((0.999,))
        watch = Watch(Clock(limit), ema, limit / 10, warm_up)
        silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        kept = ("max_steps", "gradient_clip_val")
        settings = {name: value for name, value in recipe.trainer.given.items() if name in kept}
        shared = {"limit_val_batches": 0, "use_distributed_sampler": False, "precision": self.precision(recipe)}
        trainer = Trainer(**settings, **silent, **shared, callbacks=[ema, watch])
        trainer.fit(task, data)
        watch.pause()
        return trainer.global_step, watch


def shaped(multipliers: str, blocks: int) -> Ours:
    """Ours with another network: no patches, as wide as that."""
    settings = {"multipliers": multipliers, "blocks": blocks, "patch": 1}
    return Ours(tuple(f"--task.network.{name}={value}" for name, value in settings.items()))


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "lucidrains": Lucidrains,
    "diffusers": Diffusers,
    "ours": Ours,
    "ours_unpatched": lambda: shaped("[1,4,5]", 1),
    "ours_widths_of_diffusers": lambda: shaped("[1,2,2]", 3),
}


PEERS = ("lucidrains", "diffusers")


def begin(options: argparse.Namespace, features: str) -> dict[str, Any]:
    """The JSON, or what an earlier run with the same settings left in it."""
    settings = {"minutes": options.minutes, "n": options.n, "features": features}
    result: dict[str, Any] = {"what": "quality in time", **settings, "machine": machine(), "rows": {}}
    if options.out.exists():
        found = json.loads(options.out.read_text())
        if any(found[name] != value for name, value in settings.items()):
            raise SystemExit(f"{options.out}: measured with other settings than {settings}")
        result["rows"] = found["rows"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    return result


def run(options: argparse.Namespace) -> dict[str, Any]:
    features = classifier_features(folders.load(options.features))
    print(f"features {features.name}", flush=True)
    result = begin(options, features.name)
    data = build_data(load(str(RECIPE), []))
    train, test = data.splits["train"].pixels, data.splits["test"].pixels

    def fid(sample: Sample) -> dict[str, float | None]:
        torch.manual_seed(0)
        with torch.no_grad():
            images = torch.cat([sample(k, min(BATCH, options.n - k)).float() for k in range(0, options.n, BATCH)])
        shared = {"features": features, "n": options.n, "cache": cache_folder("statistics")}
        evidence = EvaluationData(train=train, test=test, generate=lambda n: images, **shared)
        figure: MetricValue = FrechetDistance()(evidence).values[0]
        return {name: round(getattr(figure, name), 3) for name in ("value", "low", "high", "held_out")}

    left = {name: options.out.with_suffix(f".{name}.pt") for name in options.only if name not in result["rows"]}
    for name, path in left.items():
        if not path.exists():
            torch.manual_seed(0)
            trained = CONTENDERS[name]().train(train, 60 * options.minutes)
            torch.save((trained.steps, trained.weights), path)
            print(f"{name}: {trained.steps} steps", flush=True)
    for name, path in left.items():
        steps, weights = torch.load(path)
        contender, curve = CONTENDERS[name](), {}
        *earlier, last = weights
        figure = fid(contender.sampler(weights[last]))
        for seconds in earlier:
            if min((there["value"] for there in curve.values()), default=math.inf) <= better_peer(result)[1]:
                break
            curve[round(seconds, 1)] = fid(contender.sampler(weights[seconds]))
        result["rows"][name] = {"steps": steps, "seconds": round(last, 1), "fid": figure, "earlier": curve}
        print(name, json.dumps(result["rows"][name]), flush=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def better_peer(result: dict[str, Any]) -> tuple[str, float]:
    """The peer whose FID is the lower one, of those measured, and its FID."""
    peers = {name: result["rows"][name]["fid"]["value"] for name in PEERS if name in result["rows"]}
    return min(peers.items(), key=lambda item: item[1], default=("no peer", math.inf))


def conclude(result: dict[str, Any]) -> None:
    """When ours reached what the better peer had in the end."""
    rows, (peer, best) = result["rows"], better_peer(result)
    if "ours" not in rows or best == math.inf:
        return
    curve = {**rows["ours"]["earlier"], rows["ours"]["seconds"]: rows["ours"]["fid"]}
    reached = [float(seconds) for seconds, figure in curve.items() if figure["value"] <= best]
    when = f"{min(reached)} s" if reached else "not reached"
    print(f"FID {rows['ours']['fid']['value']} against {best} of {peer}: {when}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", required=True, help="a Fashion-MNIST classifier's run")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=list(CONTENDERS)[:3])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("bench/quality_in_time.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    conclude(run(options))


if __name__ == "__main__":
    main()
