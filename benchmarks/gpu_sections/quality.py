"""FID of `fashion_mnist/ddpm` after three minutes of training, by the features of the classifier of `accuracy`.

Where there is none, `fashion_mnist/fast` is trained for it. The schedule is fitted to the time; 10,000 samples by DDIM
in 50 steps, from the averaged weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from quality_in_time import Ours

from genmods.metrics.base import EvaluationData
from genmods.metrics.features import Features, classifier_features
from genmods.metrics.frechet import FrechetDistance
from genmods.runs.fit import build_data, build_task
from gpu_sections import accuracy, data
from gpu_sections.job import Figures, Job, NotMeasured

SECONDS, RESERVE = 180.0, 30.0
"""Training, and what is kept of the section's time for the samples and their features."""
BATCH = 500


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    return {"FID after 3 minutes": partial(fid, job)}


def fid(job: Job) -> Figures:
    images = build_data(data.recipe(job, "ddpm"))
    train, test = (images.splits[split].pixels for split in ("train", "test"))
    features, n = features_of(job), job.size(10_000, 16)
    limit = min(job.size(SECONDS, 1.0), job.left() - job.size(RESERVE, 0))
    if limit <= 0:
        raise NotMeasured("no time left")
    overrides = (*data.overrides(job), *job.size((), ("--task.network.width=8",)))
    ours = Ours(overrides, job.device)
    torch.manual_seed(0)
    trained = ours.train(train, limit)
    seconds = max(trained.weights)
    sample = ours.sampler(trained.weights[seconds])
    samples = torch.cat([sample(k, min(BATCH, n - k)).float().cpu() for k in range(0, n, BATCH)])
    evidence = EvaluationData(train=train, test=test, generate=lambda count: samples, features=features, n=n)
    figure = FrechetDistance(bootstrap=0)(evidence).values[0]  # intervals need scipy, which may be absent
    found = {name: round(getattr(figure, name), 3) for name in ("value", "held_out")}
    run = {"data": data.name(job), "seconds": seconds, "steps": trained.steps, "n": n}
    return run | found | {"features": features.name}


def features_of(job: Job) -> Features:
    """The classifier of the section `accuracy`, or else one that is trained here."""
    path = job.folder / accuracy.WEIGHTS
    if not path.exists():
        return classifier_features(accuracy.run(job, "fast", 100.1, job.size(60, 5))[1].model, job.device)
    recipe = data.recipe(job, "long")
    classifier = build_task(recipe, build_data(recipe).info)
    classifier.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return classifier_features(classifier.model, job.device)
