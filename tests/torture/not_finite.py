"""Numbers that are not finite, or overflow, at nine places: named, never saved, and left as each policy promises.

nox -s torture -- not_finite
"""

import random
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.callbacks.ema import find_ema
from genmods.core import checkpoint as files
from genmods.core.batch import INPUT
from genmods.core.plain import not_finite
from genmods.runs.checkpoint import Checkpoint
from genmods.tasks.base import Task
from genmods.tasks.classification import ClassificationTask
from genmods.tasks.diffusion import DiffusionTask
from support.torture import Chance, called, main
from support.torture_runs import STEPS, fit, left_over, run_of, trained

PLACES = ("loss", "gradient", "one gradient", "weight", "buffer", "average", "moment", "image", "file")
VALUES = {"nan": torch.nan, "inf": torch.inf, "-inf": -torch.inf, "1e20": 1e20, "1e30": 1e30}


def first(tensor: torch.Tensor, value: float) -> None:
    """Set the first number of a tensor in any memory format."""
    tensor[(0,) * tensor.ndim] = value


def injects(place: str, value: float, at: int):
    """A preparation: at step `at` of the fit a number at `place` becomes `value`."""

    def due(task) -> bool:
        return task.trainer.global_step + 1 == at and task.trainer.training

    def training(original):
        def step(task, batch, index):
            if due(task):
                spoil(task, batch)
            found = original(task, batch, index)
            if not (due(task) and place == "loss"):
                return found
            return found | {"loss": found["loss"] * value} if isinstance(found, dict) else found * value

        return step

    def spoil(task, batch):
        parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
        if place == "image":
            batch[INPUT] = torch.full_like(batch[INPUT], value)
        elif place == "weight":
            first(parameters[0].data, value)
        elif place == "buffer":
            for buffer in task.buffers():
                if buffer.is_floating_point() and buffer.ndim:
                    first(buffer, value)
        elif place == "average":
            first(next(iter(find_ema(task.trainer).shadows[0].values())), value)
        elif place == "moment":
            for state in task.optimizers().state.values():
                first(state["exp_avg_sq"], value)

    def backward(task):
        if due(task) and "gradient" in place:
            gradients = [p.grad for p in task.parameters() if p.grad is not None]
            for gradient in gradients[:1] if place == "one gradient" else gradients:
                first(gradient, value)

    def prepare() -> None:
        ClassificationTask.training_step = training(ClassificationTask.training_step)
        DiffusionTask.training_step = training(DiffusionTask.training_step)
        Task.on_after_backward = backward

    return prepare


def attack(chance: Chance, folder: Path) -> str:
    name, place = chance.choice(["c", "d"]), chance.deal(PLACES)
    shown = chance.choice(list(VALUES))
    if place == "file":
        return loaded(name, shown, chance, folder)
    at, policy = chance.randint(1, STEPS), chance.choice(["stop", "skip_step", "rollback"])
    callbacks = f"--callbacks.0.on_nonfinite={policy}"
    prepare = injects(place, VALUES[shown], at)
    done = fit(name, folder, callbacks, prepare=prepare).wait()
    told = f"{name} {shown} in the {place} of step {at}, {policy}"
    if fault := done.fault(0, 2):
        return f"{told}: {fault}"
    if not (folder / "runs").is_dir():
        return f"{told}: {done.err}"
    run = run_of(folder)
    for path in run.rglob("*.ckpt"):
        content = files.load(path)
        if bad := [name for name, _ in not_finite(content)]:
            return f"{told}: saved {bad[0]}"
    out_of_range = place == "image" and "e" in shown and "images must lie in [-1, 1]" in done.err
    if done.status == 2 and not out_of_range and "not finite" not in done.err:
        return f"{told}: {done.err[-200:]}"
    directly = place in ("loss", "gradient", "one gradient") and shown in ("nan", "inf", "-inf")
    if directly and f"step {at}: " not in done.err:
        return f"{told}: the step is not named: {done.err[-200:]}"
    if directly and "(samples " not in done.err:
        return f"{told}: the samples are not named: {done.err[-200:]}"
    if directly and name == "d" and "log-SNR" not in done.err:
        return f"{told}: the noise levels are not named: {done.err[-200:]}"
    if directly and (done.status == 2) != (policy == "stop"):
        return f"{told}: status {done.status}: {done.err[-200:]}"
    return left_over(run)


def loaded(name: str, shown: str, chance: random.Random, folder: Path) -> str:
    """A checkpoint with such a number somewhere, written with its checksum, is refused."""
    content = files.load(trained(name) / "run" / "checkpoints" / "last.ckpt")
    weights = chance.choice([content["state_dict"], content["ema"]["weights"][0]])
    tensors = [tensor for tensor in weights.values() if tensor.is_floating_point() and tensor.numel()]
    states = [state["exp_avg"] for state in content["optimizer_states"][0]["state"].values()]
    tensor = chance.choice([*tensors, *states])
    tensor[tuple(chance.randrange(size) for size in tensor.shape)] = VALUES[shown]
    files.save(content, folder / "x.ckpt")
    done = called(lambda: Checkpoint.read(folder / "x.ckpt").model(raw=weights is content["state_dict"]) and 0)
    wanted = 2 if shown in ("nan", "inf", "-inf") else 0
    if done.status == wanted == 2:
        return done.fault(2) or ("" if "is not finite" in done.err else done.err)
    return "" if done.status == wanted else f"{shown} in a file: status {done.status}: {done.err[-200:]}"


if __name__ == "__main__":
    sys.exit(main("not_finite"))
