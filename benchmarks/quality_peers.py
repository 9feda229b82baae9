"""The contenders of quality_in_time.py: what each must do, and the peers at their defaults, trained against a clock."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from peer_loops import DiffusersLoop, diffusers_ddim
from peers import SIZE, diffusers_unet, lucidrains_diffusion
from torch import Tensor

BORDER = 2
Weights = dict[str, Tensor]
Sample = Callable[[int, int], Tensor]
"""(first, n) -> the images number first, first + 1 ... [n, 1, 28, 28] in [-1, 1]."""


class TimeIsUp(Exception):
    pass


@dataclass
class Clock:
    """Seconds of training against a limit; what happens while it is paused does not count."""

    limit: float
    seconds: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def read(self) -> float:
        return self.seconds + time.perf_counter() - self.since

    def stop(self) -> None:
        self.seconds = self.read()

    def go_on(self) -> None:
        self.since = time.perf_counter()


@dataclass
class Trained:
    """What a contender comes to: its averaged weights by seconds of training, those when its time is up last."""

    steps: int
    weights: dict[float, Weights]


class Contender(Protocol):
    def train(self, pixels: Tensor, limit: float) -> Trained: ...

    def sampler(self, weights: Weights) -> Sample: ...


class Lucidrains:
    def train(self, pixels: Tensor, limit: float) -> Trained:
        from denoising_diffusion_pytorch import Trainer as PeerTrainer
        from torchvision.io import write_png

        with tempfile.TemporaryDirectory() as folder:
            images, results = Path(folder, "images"), Path(folder, "results")
            images.mkdir()
            for number, image in enumerate(F.pad(pixels, [BORDER] * 4)):
                write_png(image, str(images / f"{number:05d}.png"))
            never = {"train_num_steps": 10**9, "save_and_sample_every": 10**9, "calculate_fid": False}
            trainer = PeerTrainer(lucidrains_diffusion(sampling_steps=50), images, results_folder=results, **never)
            clock, update = Clock(limit), trainer.ema.update

            def timed() -> None:
                update()
                if clock.read() > limit:
                    raise TimeIsUp

            trainer.ema.update = timed
            try:
                trainer.train()
            except TimeIsUp:
                clock.stop()
        return Trained(trainer.step, {clock.seconds: trainer.ema.ema_model.state_dict()})

    def sampler(self, weights: Weights) -> Sample:
        model = lucidrains_diffusion(sampling_steps=50).eval()
        model.load_state_dict(weights)
        return lambda first, n: cropped(model.sample(batch_size=n) * 2 - 1)


class Diffusers:
    def train(self, pixels: Tensor, limit: float) -> Trained:
        from torch.utils.data import DataLoader
        from torchvision.transforms import v2

        crop = [v2.ToPILImage(), v2.Resize(SIZE), v2.RandomCrop(SIZE)]
        prepare = v2.Compose([*crop, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])])
        padded = F.pad(pixels, [BORDER] * 4)
        loader = DataLoader(padded, 16, shuffle=True, collate_fn=lambda batch: torch.stack([prepare(x) for x in batch]))
        loop = DiffusersLoop(diffusers_unet(), 1e-4, 100 * len(loader))
        clock, steps = Clock(limit), 0
        for images in forever(loader):
            loop.step(images)
            steps += 1
            if clock.read() > limit:
                break
        clock.stop()
        return Trained(steps, {clock.seconds: loop.averaged().state_dict()})

    def sampler(self, weights: Weights) -> Sample:
        network = diffusers_unet().eval()
        network.load_state_dict(weights)
        return lambda first, n: cropped(diffusers_ddim(network, 50, n))


def forever(loader: Any) -> Iterator[Tensor]:
    while True:
        yield from loader


def cropped(images: Tensor) -> Tensor:
    return images[..., BORDER:-BORDER, BORDER:-BORDER].clamp(-1, 1)
