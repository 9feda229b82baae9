"""Muon: orthogonalised momentum for filters and matrices, AdamW for all other parameters.

For the momentum U S V^T of a hidden weight, steepest descent in the spectral norm is the step U V^T (Jordan et al.,
"Muon", 2024; Bernstein and Newhouse, 2024). Filters [out, in, kh, kw] are flattened to [out, in kh kw]. U V^T is
approximated by a few Newton-Schulz iterations, batched over all weights of the same shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from genmods.core.precision import native_bfloat16
from genmods.core.settings import Count, NonNegative, Rate, Validated

_QUINTIC = (3.4445, -4.7750, 2.0315)  # steepest at zero: singular values end in about [0.7, 1.2] after five steps


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Approximate U V^T [..., m, n] for matrices U S V^T [..., m, n]: all singular values are moved to about 1.

    A Newton-Schulz step maps each singular value s to 3.4445 s - 4.7750 s^3 + 2.0315 s^5 (Jordan et al., 2024). It is
    computed in bfloat16 on devices with units for it; on a CPU only where both sides are at least 128, as it is not
    faster for smaller matrices.
    """
    a, b, c = _QUINTIC
    faster = matrices.is_cuda or (matrices.device.type == "cpu" and min(matrices.shape[-2:]) >= 128)
    reduced = faster and native_bfloat16(matrices.device)
    x = matrices.bfloat16() if reduced else matrices
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(Validated, Optimizer):
    """Muon for parameters with two dimensions or more, AdamW for the rest.

    AdamW also handles the groups whose key `matrix` is False (set by `parameter_groups` for output layer, norms, biases
    and embeddings).

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate in units of the spectral norm: a step changes a matrix [m, n] by lr sqrt(max(1, m / n)).
        momentum: Nesterov momentum.
        steps: Newton-Schulz steps.
        weight_decay: Decoupled weight decay, for both.
        adam_lr: Learning rate of AdamW.
        betas: Betas of AdamW.
        eps: Epsilon of AdamW.
        split: Whether layers that are fused in one matrix, such as queries, keys and values, are orthogonalised
            separately; the key `parts` of a group has their numbers.

    Raises:
        ValueError: If a learning rate or the momentum is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: NonNegative = 0.02,
        momentum: Rate = 0.95,
        steps: Count = 5,
        weight_decay: NonNegative = 0.0,
        adam_lr: NonNegative = 1e-3,
        betas: tuple[Rate, Rate] = (0.9, 0.99),
        eps: NonNegative = 1e-8,
        split: bool = False,
    ) -> None:
        groups = [group if isinstance(group, dict) else {"params": [group]} for group in params]
        defaults = {"lr": lr, "momentum": momentum, "steps": steps, "weight_decay": weight_decay, "betas": betas}
        divided = [part for group in groups for part in _divided(group, adam_lr)]
        super().__init__(divided, defaults | {"eps": eps, "matrix": True, "split": split})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Update all parameters that have a gradient; returns the loss of `closure`, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if parameters:
                (self._step_muon if group["matrix"] else self._step_adam)(group, parameters)
        return loss

    def _step_muon(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        parts = _fused(group)
        gradients = [p.grad for p in parameters if p.grad is not None]
        buffers = [self._buffer(p, "momentum") for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, buffers, group["momentum"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        shapes = defaultdict(list)
        for parameter, direction in zip(parameters, directions, strict=True):
            for rows, part in zip(*(x.chunk(parts[parameter]) for x in (parameter, direction)), strict=True):
                shapes[part.flatten(1).shape, part.device].append((rows, part.flatten(1)))
        for ((rows_of_one, columns), _), members in shapes.items():
            updates = orthogonalize(torch.stack([part for _, part in members]), group["steps"])
            rate = group["lr"] * max(1, rows_of_one / columns) ** 0.5
            for (rows, _), update in zip(members, updates, strict=True):
                rows.add_(update.view(rows.shape), alpha=-rate)

    def _step_adam(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        for p in parameters:
            if "step" not in self.state[p]:
                self.state[p]["step"] = torch.zeros(())
        adamw(
            parameters,
            [p.grad for p in parameters if p.grad is not None],
            [self._buffer(p, "exp_avg") for p in parameters],
            [self._buffer(p, "exp_avg_sq") for p in parameters],
            [],
            [self.state[p]["step"] for p in parameters],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _buffer(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]


def _divided(group: dict[str, Any], adam_lr: float) -> list[dict[str, Any]]:
    """Divide a group into the parameters for Muon and those for AdamW, at `adam_lr` or the group's learning rate."""
    parameters = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
    parts = dict(zip(parameters, group.get("parts", [1] * len(parameters)), strict=True))
    common, matrix = {key: value for key, value in group.items() if key != "parts"}, group.get("matrix", True)
    filters = [p for p in parameters if matrix and p.ndim >= 2]
    others = [p for p in parameters if not matrix or p.ndim < 2]
    for_muon = common | {"params": filters, "parts": [parts[p] for p in filters], "matrix": True}
    for_adam = {"lr": adam_lr} | common | {"params": others, "matrix": False}
    return [part for part in (for_muon, for_adam) if part["params"]]


def _fused(group: dict[str, Any]) -> dict[Tensor, int]:
    """The number of layers to orthogonalise separately in each parameter of a group."""
    split = group.get("parts") if group.get("split") else None
    return dict(zip(group["params"], split or [1] * len(group["params"]), strict=True))
