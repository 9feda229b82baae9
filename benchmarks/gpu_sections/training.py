"""A training step (forward, backward, clipping, AdamW, EMA), ours against diffusers: bfloat16, channels-last.

Eager, and ours as one CUDA graph; `compiled` has both with `torch.compile`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from training_step import Training

from gpu_sections.job import Figures, Job
from gpu_sections.networks import Case, Replay, cases, compiled


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    found = {}
    for name, case in cases(job).items():
        found[f"{name}: diffusers"] = partial(step, job, case, case.diffusers_training)
        found[f"{name}: ours"] = partial(step, job, case, case.our_training, peer=("training", f"{name}: diffusers"))
        found[f"{name}: ours, CUDA graph"] = partial(
            step, job, case, case.our_training, peer=("training", f"{name}: diffusers"), graph=True
        )
    return found


def step(
    job: Job,
    case: Case,
    make: Callable[[Job], Training],
    peer: tuple[str, str] | None = None,
    graph: bool = False,
    compile: bool = False,
) -> Figures:
    """A step's time and rate, its share of the peak, and how many times as fast as the row `peer` it is."""
    training, images = make(job), case.images(job)
    size = training.size(images)
    if compile:
        compiled(getattr(training.parameters, "network", training.parameters), job)
    call = Replay(training.step, [images], job) if graph else training.step
    seconds = job.seconds_of(lambda: call(images))
    tflops = size["gflop_per_image"] * case.batch / seconds / 1e3
    figures = {"batch": case.batch, **size, "ms": round(1e3 * seconds, 3), "images/s": round(case.batch / seconds, 1)}
    return {**figures, **job.share_of_peak(tflops), **times_as_fast(job, 1e3 * seconds, peer)}


def times_as_fast(job: Job, ms: float, peer: tuple[str, str] | None) -> Figures:
    """How many times as fast as a row that was measured before; nothing where it was not."""
    other = job.figure(*peer, "ms") if peer else None
    return {"times as fast": round(other / ms, 2), "as": ", ".join(peer)} if peer and other else {}
