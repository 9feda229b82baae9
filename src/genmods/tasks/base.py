"""The base of every task: an optimizer over parameter groups, a schedule per step, and randomness without a state.

Before each batch the generators are seeded from (seed, rank, batches done), so that dropout, times and noise of a batch
are the same in a run that was interrupted and resumed as in one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from genmods.core import random
from genmods.core.errors import UserError
from genmods.networks.base import evaluating
from genmods.optim.groups import parameter_groups

if TYPE_CHECKING:
    from genmods.core.progress import Progress
    from genmods.metrics.base import Likelihood

Batch = dict[str, Tensor]


class Task(LightningModule):
    """What a network is trained for: the registry kind `task`.

    A batch is a dict with `image` (float [B, C, H, W] in [-1, 1]), `label` (int64 [B], or float targets) and `index`
    (int64 [B]). `optimizer` and `schedule` are factories: `optimizer(groups)` and `schedule(optimizer, total_steps)`.
    """

    optimizer: Callable[..., Optimizer] = partial(AdamW, lr=1e-3)
    schedule: Callable[..., LRScheduler] | None = None
    trained_with: Callable[..., Optimizer] | None = None
    """The optimizer's factory of a run that goes on, as it was: what has been changed since then takes effect."""
    monitor: str | None = None
    """The metric that chooses `best.ckpt`, with a leading `-` where less is better; None keeps `last.ckpt` alone."""
    trainable: bool = True
    """Whether there is anything to fit; what is not trained is validated and tested without a checkpoint of its own."""
    seed: int = 0
    class_names: list[str] = []
    labelled: bool = False
    """Whether the model tells the classes of its data apart: answers with them, or makes images of each."""
    image_shape: tuple[int, int, int] | None = None
    """Shape [C, H, W] of the images that go in or come out, where there is one."""

    @property
    def differentiated_twice(self) -> tuple[nn.Module, ...]:
        """Networks whose loss has a gradient in it; `torch.compile` cannot take those."""
        return ()

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.groups())
        if self.schedule is None:
            return optimizer
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError("schedule: needs an end of the training, set trainer.max_steps or trainer.max_epochs")
        if total < 1:
            raise UserError("schedule: there is no step to train, see max_steps and limit_train_batches of the trainer")
        schedule = self.schedule(optimizer, int(total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trained_with is None:
            return
        (state,) = checkpoint["optimizer_states"]
        before, now = (make(self.groups()).param_groups for make in (self.trained_with, self.optimizer))
        for saved, old, new in zip(state["param_groups"], before, now, strict=True):
            saved.update({key: new[key] for key in new if key != "params" and new[key] != old.get(key)})
            if self.schedule is None:
                saved["lr"] = new["lr"]

    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups of the optimizer; each part of the task has an output layer of its own."""
        return parameter_groups(*self.children(), self)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        done = self.trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]
        torch.manual_seed(int(random.fold(self.seed, self.global_rank, done)))

    def on_validation_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        torch.manual_seed(int(random.fold(self.seed, self.global_rank, batch_idx)))

    on_test_batch_start = on_validation_batch_start

    def warm_start(self, images: Tensor) -> None:
        """Fit what training does not to example images [N, C, H, W] in [-1, 1], before the first step of a new run."""

    def sample(
        self, n: int, *, seed: int = 0, batch_size: int = 256, first: int = 0, progress: Progress | None = None
    ) -> Tensor:
        """`n` images [n, C, H, W] in [-1, 1], the samples number `first` to `first + n - 1` of `seed`.

        `progress(done, total)` is called as they are made. Raises UserError where the task generates nothing.
        """
        raise UserError(f"a {type(self).__name__} generates no images")

    @property
    def generates(self) -> bool:
        """Whether the task has a `sample` of its own."""
        return type(self).sample is not Task.sample

    def likelihoods(self) -> tuple[Likelihood | None, Likelihood | None]:
        """A bound on the likelihood and that of the probability flow, as `Evidence` takes them; None: there is none."""
        return None, None

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Raises UserError, with the first difference, where the tensors are not those of this task."""
        try:
            return super().load_state_dict(state_dict, *args, **kwargs)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise UserError(f"the checkpoint does not fit this {type(self).__name__}: {first}") from None

    def log_mean(self, name: str, value: Tensor, batch: Batch, progress: bool = False) -> None:
        """Log the mean over an evaluation, weighted by batch size and over all ranks, or a training step's value."""
        training = name.startswith("train/")
        self.log(
            name,
            value,
            batch_size=len(batch["image"]),
            prog_bar=progress,
            on_step=training,
            on_epoch=not training,
            sync_dist=not training,
        )


def in_batches(
    make: Callable[[Tensor], Tensor], indices: Tensor, batch_size: int, progress: Progress | None = None
) -> Tensor:
    """The images [n, C, H, W] that `make` makes of numbers `indices` [n], `batch_size` at a time, within [-1, 1]."""
    images: list[Tensor] = []
    batches = indices.split(batch_size)
    for done, batch in enumerate(batches, start=1):
        images.append(make(batch).clamp(-1, 1).float())
        if progress:
            progress(done, len(batches))
    return torch.cat(images)


def dry_run(network: nn.Module, *inputs: Any) -> torch.Size:
    """The shape of `network(*inputs)`, computed on the meta device: no arithmetic, no memory.

    Raises ValueError in one line where the network cannot be called like that.
    """
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    try:
        with evaluating(network), torch.no_grad():
            return functional_call(network, meta, inputs).shape
    except (TypeError, RuntimeError, NotImplementedError, AttributeError, IndexError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"{type(network).__name__} does not fit this task: {reason}") from None
