"""Samples of a trained model as training data, next to the real validation and test images of its run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le, Lt
from safetensors.torch import load_file
from torch import Tensor

from genmods.core import safetensors
from genmods.core.atomic import cache
from genmods.core.devices import default_device
from genmods.core.errors import UserError
from genmods.core.label_kinds import LabelKind
from genmods.core.settings import BatchSize, Fraction, NonNegative, Steps
from genmods.data.base import DataModule
from genmods.data.images import Images, Source
from genmods.data.kept.pixels import in_memory
from genmods.data.splits import hold_out
from genmods.models import Conditional, Generates, UsesSampler, choose_sampler
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.folders import find_checkpoint


@dataclass
class Generated(Source):
    """Samples of the class-conditional model of a run, all classes equally often, as training images.

    The validation and test images are the real ones of the run. The test accuracy of a classifier that is trained on
    these samples is the classification accuracy score of the model (CAS; Ravuri and Vinyals 2019). Samples are kept in
    the cache folder.

    Args:
        from_: The run, `from` in a recipe.
        n: Number of samples; 0 for none.
        real: Share of the real training images of the run, stratified by class, that are added.
        guidance: Scale of classifier-free guidance; 1 means no guidance.
        steps: Number of sampling steps instead of the run's.
        sample_seed: Seed of the samples.
        sample_batch: Samples per network call.
    """

    from_: str | None = None
    n: Annotated[int, Ge(0), Le(10_000_000)] = 10_000
    real: Fraction = 0.0
    guidance: NonNegative = 1.0
    steps: Steps | None = None
    sample_seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    sample_batch: BatchSize = 256

    def __post_init__(self) -> None:
        if self.n == 0 and self.real == 0:
            raise ValueError("n must be at least 1 if real is 0, got 0")

    def read(self) -> dict[str, Images]:
        real = {name: self._real(name) for name in self._data.splits}
        train = [self._samples()] if self.n else []
        if self.real > 0:
            train.append(self._share(real["train"]))
        pixels = torch.cat([in_memory(images.pixels) for images in train])
        labels = torch.cat([images.labels for images in train if images.labels is not None])
        return {**real, "train": Images(pixels, labels)}

    @property
    def class_names(self) -> list[str]:
        return self._data.info.class_names

    @property
    def kind_of_labels(self) -> LabelKind:
        return "class"

    @property
    def levels(self) -> int:
        return self._data.info.levels

    @property
    def columns(self) -> tuple[str, ...]:
        return self._data.info.columns

    @cached_property
    def _path(self) -> Path:
        if self.from_ is None:
            raise UserError("data.from: set the run whose samples are the training images")
        try:
            return find_checkpoint(self.from_)
        except UserError as error:
            raise UserError(f"data.from: {error}") from None

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return Checkpoint.read(self._path)

    @cached_property
    def _data(self) -> DataModule:
        from genmods.runs.fit import build_data

        data = build_data(self._checkpoint.parsed())
        if data.info.label_kind != "class":
            raise UserError(f"data.from: {self.from_}: expected a run on images with one class each")
        return data

    def _real(self, split: str) -> Images:
        arrays = self._data.arrays(split)
        assert arrays is not None
        return Images(*arrays)

    def _share(self, images: Images) -> Images:
        """The share `real` of images, stratified by class."""
        if self.real == 1:
            return images
        return images.select(hold_out(images.labels, len(images), self.real, 0)[1])

    def _samples(self) -> Images:
        """The samples; sample i has class i mod K."""
        path = cache("generated", f"{self._key()}.safetensors")
        if not path.is_file():
            pixels = self._stored(self._drawn())
            safetensors.write({"pixels": pixels}, path)
        return Images(load_file(path)["pixels"], torch.arange(self.n) % len(self.class_names))

    def _key(self) -> str:
        """A hash of the checkpoint file as it is and of the settings of the samples."""
        state = self._path.stat()
        words = [str(self._path.resolve()), state.st_size, state.st_mtime_ns]
        words += [self.n, self.guidance, self.steps, self.sample_seed]
        return hashlib.sha256(repr(words).encode()).hexdigest()[:24]

    def _drawn(self) -> Tensor:
        model: Any = self._checkpoint.model()
        if not isinstance(model, Generates):
            raise UserError(f"data.from: {self.from_}: expected a generative model, got {type(model).__name__}")
        if not isinstance(model, Conditional) or "label" not in model.conditioned_on().names:
            raise UserError(f"data.from: {self.from_}: expected a model that is conditioned on classes")
        settings: dict[str, Any] = {} if self.guidance == 1 else {"guidance": self.guidance}
        if self.steps is not None and isinstance(model, UsesSampler):
            settings["sampler"] = choose_sampler(model.default_sampler(), None, self.steps, model)
        labels = list(range(len(self.class_names)))
        model = model.to(default_device())
        return model.sample(
            self.n, {"label": labels}, seed=self.sample_seed, batch_size=self.sample_batch, **settings
        ).cpu()

    def _stored(self, images: Tensor) -> Tensor:
        values = images.clamp(-1, 1).add(1).mul((self.levels - 1) / 2).round()
        return values.to(torch.uint8 if self.levels <= 256 else torch.uint16)
