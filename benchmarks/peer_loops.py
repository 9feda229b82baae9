"""The training loops of diffusers and denoising-diffusion-pytorch step by step, in processor time, to be continued.

Both take decoded images from memory, so that their clock counts nothing but training.
"""

from __future__ import annotations

import json
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import gflop_per_image
from equal_time import EMA_LENGTHS
from judge import store
from peers import attention_in_float32, diffusers_in_colour, lucidrains_in_colour
from torch import Tensor, nn

from genmods.core.precision import native_bfloat16
from genmods.data.images import Images, to_float

BATCH = 16
"""The default of both."""
KEPT_EVERY = 120.0
"""Seconds between two writes of a loop's state."""
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Loop(ABC):
    """A training loop: network, optimizer, schedule and average. `reduced`: in bfloat16 under autocast."""

    PARTS = ("network", "optimizer", "schedule", "ema")

    def __init__(self, network: Any, optimizer: torch.optim.Optimizer, schedule: Any, ema: Any, reduced: bool):
        self.network, self.optimizer, self.schedule, self.ema, self.reduced = network, optimizer, schedule, ema, reduced

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """The loss of images [B, C, H, W] in [-1, 1]."""

    @abstractmethod
    def average(self) -> None:
        """Update the averaged weights."""

    @abstractmethod
    def averaged(self) -> nn.Module:
        """The network with the averaged weights, after the last step."""

    def reducing(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.reduced)

    def step(self, images: Tensor, labels: Tensor | None = None) -> float:
        with self.reducing():
            loss = self.loss(images, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.average()
        return loss.item()

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in self.PARTS}

    def load(self, state: dict[str, Any]) -> None:
        for name in self.PARTS:
            getattr(self, name).load_state_dict(state[name])


class DiffusersLoop(Loop):
    """The loop of diffusers' unconditional example, with labels where the network takes them."""

    def __init__(
        self, network: Any, rate: float, steps: int, warm_up: int = 500, decay: float = 0.9999, reduced: bool = False
    ) -> None:
        from diffusers.optimization import get_scheduler
        from diffusers.training_utils import EMAModel

        optimizer = torch.optim.AdamW(network.parameters(), rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        schedule = get_scheduler("cosine", optimizer, num_warmup_steps=warm_up, num_training_steps=steps)
        ema = EMAModel(network.parameters(), decay=decay, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        super().__init__(network, optimizer, schedule, ema, reduced)
        self.noiser = diffusers_noise()

    @classmethod
    def in_colour(cls, classes: int, rate: float, steps: int, layout: torch.memory_format, reduced: bool) -> Loop:
        """Warm-up and average fitted to the steps."""
        network = attention_in_float32(diffusers_in_colour(classes)).to(memory_format=layout)
        return cls(network, rate, steps, max(1, steps // 20), 1 - EMA_LENGTHS / steps, reduced)

    def loss(self, images: Tensor, labels: Tensor | None) -> Tensor:
        noise, t = torch.randn_like(images), torch.randint(0, 1000, (len(images),))
        found = self.network(self.noiser.add_noise(images, noise, t), t, class_labels=labels).sample
        return F.mse_loss(found.float(), noise)

    def average(self) -> None:
        self.ema.step(self.network.parameters())

    def averaged(self) -> nn.Module:
        self.ema.copy_to(self.network.parameters())
        return self.network.eval()

    def sampler(self, calls: int) -> Callable[[Tensor], Tensor]:
        network = self.averaged()
        return lambda labels: diffusers_ddim(network, calls, len(labels), labels)


class LucidrainsLoop(Loop):
    """The loop of denoising-diffusion-pytorch's Trainer, with labels, which the Trainer does not pass on."""

    def __init__(self, diffusion: Any, rate: float, decay: float, reduced: bool = False) -> None:
        from ema_pytorch import EMA

        optimizer = torch.optim.Adam(diffusion.parameters(), rate, betas=(0.9, 0.99))
        constant = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        super().__init__(diffusion, optimizer, constant, EMA(diffusion, beta=decay, update_every=10), reduced)

    @classmethod
    def in_colour(cls, classes: int, rate: float, steps: int, layout: torch.memory_format, reduced: bool) -> Loop:
        """The average, which takes every tenth step, fitted to the steps."""
        diffusion = lucidrains_in_colour(classes).to(memory_format=layout)
        return cls(diffusion, rate, max(0.0, 1 - 10 * EMA_LENGTHS / steps), reduced)

    def loss(self, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.network((images + 1) / 2, classes=labels)

    def average(self) -> None:
        self.ema.update()

    def averaged(self) -> nn.Module:
        return self.ema.ema_model.eval()

    def sampler(self, calls: int) -> Callable[[Tensor], Tensor]:
        diffusion: Any = self.averaged()
        diffusion.sampling_timesteps, diffusion.is_ddim_sampling = calls, True
        return lambda labels: diffusion.sample(labels, cond_scale=1.0) * 2 - 1


IN_COLOUR: dict[str, Any] = {"lucidrains": LucidrainsLoop, "diffusers": DiffusersLoop}


def diffusers_noise() -> Any:
    """The noise of diffusers' unconditional example."""
    from diffusers import DDPMScheduler

    return DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")


def diffusers_ddim(network: Any, calls: int, n: int, labels: Tensor | None = None) -> Tensor:
    """What DDIMPipeline generates, `n` images [n, C, H, W] in [-1, 1], also for `labels`, which it does not take."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler.from_config(diffusers_noise().config)
    scheduler.set_timesteps(calls)
    side = network.config.sample_size
    x = torch.randn(n, network.config.in_channels, side, side)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t, class_labels=labels).sample.float(), t, x).prev_sample
    return x.clamp(-1, 1)


class Batches:
    """Batches of images, half of them flipped: in each epoch in another order, which depends on its number only."""

    def __init__(self, images: Images) -> None:
        self.images, self.per_epoch = images, len(images) // BATCH

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(step, self.per_epoch)
        order = torch.randperm(len(self.images), generator=torch.Generator().manual_seed(epoch))
        rows = order[place * BATCH : (place + 1) * BATCH]
        assert self.images.labels is not None
        images, flipped = to_float(self.images.pixels[rows]), torch.rand(BATCH) < 0.5
        return torch.where(flipped.view(-1, 1, 1, 1), images.flip(3), images), self.images.labels[rows]


class Peer:
    """The training of a peer in `seconds` of processor time, whose plan and state are in the folder `at`."""

    def __init__(self, name: str, rate: float, train: Images, classes: int, seconds: float, at: Path) -> None:
        self.name, self.rate, self.classes, self.seconds, self.at = name, rate, classes, seconds, at
        self.batches, self.reduced = Batches(train), native_bfloat16(torch.device("cpu"))

    def loop(self, steps: int, layout: str) -> Any:
        torch.manual_seed(0)
        return IN_COLOUR[self.name].in_colour(self.classes, self.rate, steps, FORMATS[layout], self.reduced)

    def pace(self, layout: str) -> float:
        """Seconds of a step."""
        loop, seconds = self.loop(1000, layout), []
        for step in range(8):
            begin = time.process_time()
            loop.step(*self.batches.at(step))
            seconds.append(time.process_time() - begin)
        return statistics.median(seconds[3:])

    def plan(self) -> dict[str, Any]:
        """The steps that fit into the seconds in the faster memory format, with FLOPs."""
        settings, path = {"rate": self.rate, "seconds": self.seconds}, self.at / "plan.json"
        if not path.exists():
            paces = {layout: self.pace(layout) for layout in FORMATS}
            layout = min(paces, key=lambda name: paces[name])
            loop, batch = self.loop(1000, layout), self.batches.at(0)
            found: dict[str, Any] = {
                "steps": max(2 * EMA_LENGTHS, int(self.seconds / paces[layout])),
                "step_seconds": round(paces[layout], 4),
                "layout": layout,
                "precision": "bfloat16" if self.reduced else "float32",
                "parameters_M": round(sum(p.numel() for p in loop.network.parameters()) / 1e6, 3),
                "gflop_per_image": gflop_per_image(lambda: loop.loss(*batch).backward(), BATCH),
            }
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(found | {"settings": settings}))
        found = json.loads(path.read_text())
        if found.pop("settings") != settings:
            raise SystemExit(f"{self.at}: trained with other settings than {settings}")
        return found

    def trained(self) -> tuple[Loop, dict[str, Any]]:
        """The loop after its last step, and the columns of its row."""
        plan, path = self.plan(), self.at / "state.pt"
        loop = self.loop(plan["steps"], plan["layout"])
        loop.network.train()
        state: dict[str, Any] = {"step": 0, "seconds": 0.0, "loss": 0.0}
        if path.exists():
            state = torch.load(path)
            loop.load(state.pop("loop"))
            torch.set_rng_state(state.pop("random"))
        kept_at, late = state["seconds"], plan["steps"] // 10
        while state["step"] < plan["steps"]:
            begin = time.process_time()
            loss = loop.step(*self.batches.at(state["step"]))
            state["seconds"] += time.process_time() - begin
            state["step"] += 1
            if state["step"] > plan["steps"] - late:
                state["loss"] += loss / late
            if state["step"] == plan["steps"] or state["seconds"] - kept_at > KEPT_EVERY:
                kept_at = state["seconds"]
                store(state | {"loop": loop.state(), "random": torch.get_rng_state()}, path)
                print(f"{self.at.name}: step {state['step']}/{plan['steps']}, loss {loss:.4f}", flush=True)
        columns = {"cpu_seconds": round(state["seconds"], 1), "loss_of_last_tenth": round(state["loss"], 5)}
        return loop, plan | columns
