"""Diffusion models: a denoiser trained at all noise levels, then sampled, with or without a condition and guidance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.progress import Progress, part_of
from genmods.diffusion import (
    BoundTerms,
    Denoise,
    Denoiser,
    DiffusionLoss,
    Loss,
    NoiseProcess,
    Prediction,
    Sampler,
    TimeDensity,
    UniPCSampler,
    Weighting,
    bound_bits_per_dim,
    flow_bits_per_dim,
    noise_stream,
)
from genmods.diffusion.guidance import ClassifierFree
from genmods.diffusion.masking import masked
from genmods.diffusion.weightings import ElboWeighting
from genmods.networks.base import Condition, Network
from genmods.tasks.base import Batch, Task, dry_run

if TYPE_CHECKING:
    from genmods.metrics.base import Likelihood

Guide = Callable[[Condition, Tensor], Denoise]
"""(condition, labels int64 [B]) -> the denoiser of a batch."""


class DiffusionTask(Task):
    """Trains `network` to say `prediction` of images noised by `process`, and samples with `sampler`.

    `conditioning`: "class" gives the network the label, dropped (-1) for a share `label_drop` of samples so that
    guidance has an unconditional model; "mask" gives it a random mask and the masked image, for inpainting.
    `codec` is an autoencoder whose latents are diffused in place of pixels; `latent_scale` brings their root mean
    square to 1, which stands for `sigma_data` then, and is measured on the training images where it is left open.
    A model of pixels that trains with the weighting `elbo` is judged by its likelihood: `val/bpd` chooses `best.ckpt`.
    Raises ValueError where the network does not return what the prediction needs for images of the data's shape.
    """

    image_shape: tuple[int, int, int]
    latent_scale: Tensor

    def __init__(
        self,
        network: Network,
        process: NoiseProcess,
        prediction: Prediction,
        sampler: Sampler | None = None,
        density: TimeDensity | None = None,
        weighting: Weighting | None = None,
        conditioning: Literal["none", "class", "mask"] = "class",
        label_drop: float = 0.1,
        codec: Network | None = None,
        latent_scale: float | None = None,
        in_channels: int = 1,
        image_size: int = 28,
        num_classes: int = 0,
        sigma_data: float = 1.0,
        levels: int = 256,
        class_names: list[str] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= label_drop <= 1:
            raise ValueError(f"label_drop must lie in [0, 1], not {label_drop}")
        if codec is not None and not (hasattr(codec, "encode") and hasattr(codec, "decode")):
            raise ValueError(f"{type(codec).__name__} has no encode and decode; a codec is an autoencoder")
        self.denoiser = Denoiser(network, process, prediction, sigma_data if codec is None else 1.0)
        self.loss = DiffusionLoss(density, weighting)
        self.sampler = sampler or UniPCSampler(steps=16)
        self.conditioning = conditioning if num_classes or conditioning != "class" else "none"
        self.labelled = self.conditioning == "class"
        self.label_drop = label_drop
        self.codec = codec.requires_grad_(False) if codec else None
        self.measures_scale = codec is not None and latent_scale is None
        self.register_buffer("latent_scale", torch.tensor(latent_scale or 1.0), persistent=codec is not None)
        self.image_shape = (in_channels, image_size, image_size)
        self.num_classes, self.levels = num_classes, levels
        self.class_names = class_names or [str(k) for k in range(num_classes)]
        self.last_loss: Loss | None = None
        self.by_likelihood = codec is None and isinstance(weighting, ElboWeighting)
        if self.by_likelihood and not self.knows_unlabelled:
            raise ValueError("the likelihood that `elbo` is judged by is without a label: set label_drop above 0")
        self.monitor = "-val/bpd" if self.by_likelihood else None
        self._check(network)

    def _check(self, network: Network) -> None:
        image = torch.empty(2, *self.image_shape, device="meta")
        x = torch.empty(2, *self.latent_shape, device="meta")
        label = torch.zeros(2, dtype=torch.int64, device="meta")
        cond = {"class": {"label": label}, "mask": {"image": torch.cat([image[:, :1], image], 1)}, "none": {}}
        shape = dry_run(network, x, torch.zeros(2, device="meta"), cond[self.conditioning])
        if shape not in (x.shape, (2, 2 * x.shape[1], *x.shape[2:])):
            raise ValueError(f"{type(network).__name__} turns {list(x.shape[1:])} into {list(shape[1:])}, not the same")
        if shape != x.shape and self.process.levels is None:
            raise ValueError("a learned variance takes a discrete process: give the process a number of steps")
        known = getattr(network, "num_classes", self.num_classes)
        if self.conditioning == "class" and known < self.num_classes:
            raise ValueError(
                f"{type(network).__name__} knows {known} classes and the data have {self.num_classes}: set its"
                " num_classes, or conditioning: none"
            )

    @property
    def knows_unlabelled(self) -> bool:
        """Whether training sees images without a label."""
        return self.conditioning != "class" or self.label_drop > 0

    @property
    def process(self) -> NoiseProcess:
        return self.denoiser.process

    @property
    def latent_shape(self) -> torch.Size:
        """Shape [C, H, W] of what is diffused."""
        return self.encode(torch.zeros(1, *self.image_shape, device=self.device)).shape[1:]

    def warm_start(self, images: Tensor) -> None:
        if self.measures_scale:
            latents = torch.cat([self.encode(part) for part in images.split(256)])
            self.latent_scale.div_(latents.square().mean().sqrt())

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [-1, 1] as what is diffused: themselves, or the codec's latent means."""
        if self.codec is None:
            return images
        return self.codec.encode(images)[0] * self.latent_scale  # type: ignore[operator]

    @torch.no_grad()
    def decode(self, x0: Tensor) -> Tensor:
        """The inverse of `encode`, in [-1, 1]."""
        images = x0 if self.codec is None else self.codec.decode(x0 / self.latent_scale)  # type: ignore[operator]
        return images.clamp(-1, 1).float()

    def condition(self, batch: Batch, training: bool) -> Condition:
        """What the network is told of a batch, with labels dropped while training."""
        if self.conditioning == "class":
            label = batch["label"]
            if label.is_floating_point():
                raise UserError(
                    "conditioning: class takes one class an image, not several or mixed ones (MixUp, CutMix)"
                )
            if training:
                label = torch.where(torch.rand(len(label), device=label.device) < self.label_drop, -1, label)
            return {"label": label}
        return {"image": masked(batch["image"])} if self.conditioning == "mask" else {}

    def _step(self, batch: Batch, stage: str) -> Tensor:
        training = stage == "train"
        x0 = self.encode(batch["image"])
        self.last_loss = self.loss(self.denoiser, x0, self.condition(batch, training))
        loss = self.last_loss.per_sample.mean()
        self.log_mean(f"{stage}/loss", loss, batch, progress=True)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def _judge(self, batch: Batch, stage: str) -> None:
        self._step(batch, stage)
        if self.by_likelihood:
            bits = self.bits(batch["image"], batch["index"], num_times=1)
            self.log_mean(f"{stage}/bpd", bits.total.float().mean(), batch, progress=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._judge(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._judge(batch, "test")

    def bits(self, images: Tensor, indices: Tensor | None = None, num_times: int = 16) -> BoundTerms:
        """The bound on bits/dim of `images` [B, C, H, W] without a label; see `diffusion.bound_bits_per_dim`."""
        return bound_bits_per_dim(self._unconditional(images), images, self.levels, num_times, indices=indices)

    def flow_bits(self, images: Tensor, indices: Tensor | None = None) -> Tensor:
        """Bits/dim [B] of `images` by the probability flow without a label; see `diffusion.flow_bits_per_dim`."""
        return flow_bits_per_dim(self._unconditional(images), images, self.levels, steps=32, indices=indices)

    def likelihoods(self) -> tuple[Likelihood | None, Likelihood | None]:
        if self.codec is not None:
            return super().likelihoods()
        return (
            lambda images, indices: self.bits(images.to(self.device), indices.to(self.device)).total.detach().cpu(),
            lambda images, indices: self.flow_bits(images.to(self.device), indices.to(self.device)).cpu(),
        )

    def _unconditional(self, images: Tensor) -> Denoise:
        return self.denoise(self.told(torch.full((len(images),), -1, device=self.device)))

    def denoise(self, cond: Condition, guidance: float = 1.0) -> Denoise:
        """The denoiser under a condition; with `guidance` other than 1, classifier-free guidance of that weight."""
        label = cond.get("label")
        if label is not None and not self.knows_unlabelled and (guidance != 1.0 or bool((label < 0).any())):
            raise UserError("the model was trained with label_drop: 0 and knows no images without a label")
        conditional = self.denoiser.conditioned(cond)
        if guidance == 1.0:
            return conditional
        null = {name: torch.zeros_like(image) for name, image in cond.items() if name == "image"}
        return ClassifierFree(conditional, self.denoiser.conditioned(null), guidance)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        labels: Tensor | None = None,
        seed: int = 0,
        sampler: Sampler | None = None,
        guidance: float = 1.0,
        batch_size: int = 256,
        first: int = 0,
        progress: Progress | None = None,
        guide: Guide | None = None,
    ) -> Tensor:
        """`n` images [n, C, H, W] in [-1, 1], the samples number `first` to `first + n - 1` of `seed`.

        Sample i depends on `seed`, i and its label alone. A class-conditional model goes through its classes in turn
        where `labels` (int64 [n]) is None; a mask-conditional one is told that no pixel is known.
        `progress(done, total)` is called after each sampling step of each batch. `guide` takes the place of
        classifier-free guidance: what a batch is sampled with, from its condition and labels.
        Raises ValueError for labels of another shape or out of range.
        """
        sampler = sampler or self.sampler
        indices = torch.arange(first, first + n, device=self.device)
        labels = self._labels(indices, labels)
        chunks = list(zip(indices.split(batch_size), labels.split(batch_size), strict=True))
        images, shape = [], tuple(self.latent_shape)
        for number, (chunk, label) in enumerate(chunks):
            noise = noise_stream(seed, chunk, shape, self.device)
            cond = self.told(label)
            denoise = guide(cond, label) if guide else self.denoise(cond, guidance)
            x0 = sampler.sample(denoise, noise, part_of(progress, number, len(chunks)))
            images.append(self.decode(x0))
        return torch.cat(images)

    def told(self, label: Tensor) -> Condition:
        """The condition of new images of classes `label` [B]."""
        channels, height, width = self.image_shape
        if self.conditioning == "mask":
            return {"image": torch.zeros(len(label), 1 + channels, height, width, device=self.device)}
        return {"label": label} if self.conditioning == "class" else {}

    def _labels(self, indices: Tensor, labels: Tensor | None) -> Tensor:
        if labels is None:
            return indices % self.num_classes if self.num_classes else torch.full_like(indices, -1)
        labels = torch.as_tensor(labels, device=self.device)
        if labels.shape != indices.shape or not -1 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(f"labels must be {len(indices)} numbers from -1 to {self.num_classes - 1}, one an image")
        return labels
