"""Trained models as modules with tensors only as inputs, the graphs that `onnx_file` writes.

Noise schedules are computed in float64 by functions that ONNX runtimes lack, at times that do not depend on the images.
`Tape` records their values in one run of the sampler and replays them as constants when the graph is traced.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from genmods.core.errors import UserError
from genmods.core.printable import counted
from genmods.data.images import to_float
from genmods.diffusion.denoiser import ConditionedDenoiser
from genmods.diffusion.process import NoiseProcess
from genmods.diffusion.samplers.base import HISTORY_LENGTH, Sampler, SamplerState
from genmods.models import DiffusionModel, Predicts, Restores
from genmods.models.generative import LatentModel


@dataclass
class Graph:
    """A graph to be exported.

    Args:
        module: Called with the inputs in their order; returns one tensor.
        inputs: Example inputs by name, of two samples.
        output: The name of the output.
        meanings: What the inputs and the output are, by name.
        resizable: The inputs whose height and width may differ from those of the example.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    output: str
    meanings: dict[str, str]
    resizable: tuple[str, ...] = field(default_factory=tuple)


class Calls(nn.Module):
    """A function of tensors [B, ...] that uses the parts of `model`, as a module."""

    def __init__(self, model: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def graph_of(model: Any) -> Graph:
    """The graph of a model: predictions of pixels, a restored image, the output of a denoising network, or the image
    of a latent vector.

    Raises:
        UserError: If the model has no such graph.
    """
    if isinstance(model, Predicts) and getattr(model, "image_shape", None):
        return _predictions(model)
    if isinstance(model, Restores):
        return _restoration(model)
    if isinstance(model, DiffusionModel):
        return _network(model)
    if isinstance(model, LatentModel):
        return _decoder(model)
    raise UserError(f"a {type(model).__name__} has no graph that could be exported")


def sampling_graph(model: Any, sampler: Sampler | None = None) -> Graph:
    """The graph from noise, and the condition, to images, with all steps of a deterministic sampler.

    Raises:
        UserError: If the model is not sampled from noise, or the sampler adds noise in its steps.
    """
    if isinstance(model, LatentModel):
        return _decoder(model)
    if not isinstance(model, DiffusionModel):
        raise UserError(f"a {type(model).__name__} generates no images from noise")
    chosen = sampler or model.default_sampler()
    condition = _condition(model)
    noise = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    module = Unrolled(model, chosen, noise, condition)
    kind = type(chosen).__name__
    meanings = {
        "noise": "standard normal",
        "images": f"[-1, 1], {kind} with {counted(chosen.steps, 'step')}",
        **_labels(model),
    }
    return Graph(module, {"noise": noise, **condition}, "images", meanings)


def _predictions(model: Any) -> Graph:
    levels = model.preparation.levels if model.preparation and model.preparation.levels else None
    shape = (2, *model.image_shape)
    if levels is None:
        inputs, meaning = {"images": torch.rand(shape) * 2 - 1}, {"images": "[-1, 1]"}
        function = model.predictions
    else:
        inputs = {"pixels": torch.randint(levels, shape).float()}
        meaning = {"pixels": f"0 to {levels - 1}"}

        def function(pixels: Tensor) -> Tensor:
            return model.predictions(to_float(pixels, levels))

    output = "numbers" if model.predicts == "numbers" else "probabilities"
    return Graph(Calls(model, function), inputs, output, {**meaning, output: "one per name of class_names"})


def _restoration(model: Any) -> Graph:
    with torch.no_grad():
        measured = model.operator(torch.rand(2, *model.image_shape) * 2 - 1)
    inputs = {"measured": measured}
    meanings = {"measured": "an image in [-1, 1], degraded as in training", "restored": "[-1, 1]"}
    if model.level != "blind":
        inputs["std"] = torch.full((2, 1, 1, 1), 0.2)
        meanings["std"] = "standard deviation of the noise, on the scale of the image"
    module = Calls(model, lambda *inputs: model(*inputs).clamp(-1, 1))
    return Graph(module, inputs, "restored", meanings, ("measured",))


def _network(model: DiffusionModel) -> Graph:
    condition, network = _condition(model), model.denoiser.network
    x = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(0))

    def function(x: Tensor, log_snr: Tensor, *values: Tensor) -> Tensor:
        return network(x, log_snr, dict(zip(condition, values, strict=True)))

    prediction = type(model.denoiser.prediction).__name__
    meanings = {
        "x": f"x_t divided by the square root of alpha^2 {model.denoiser.sigma_data:.7g}^2 + sigma^2",
        "log_snr": "ln(alpha^2 / sigma^2)",
        "output": f"the target of {prediction}",
        **_labels(model),
    }
    return Graph(
        Calls(network, function),
        {"x": x, "log_snr": torch.tensor([-1.0, 2.0]), **condition},
        "output",
        meanings,
        ("x",),
    )


def _decoder(model: LatentModel) -> Graph:
    latents = torch.randn(2, *model.latent_shape(), generator=torch.Generator().manual_seed(0))
    module = Calls(model, lambda latents: model.decode(latents).clamp(-1, 1))
    return Graph(module, {"latents": latents}, "images", {"latents": "standard normal", "images": "[-1, 1]"})


def _condition(model: DiffusionModel) -> dict[str, Tensor]:
    """The default condition of two samples."""
    return model.conditioning.requested(2, None, torch.arange(2))


def _labels(model: DiffusionModel) -> dict[str, str]:
    return {"label": "number of the class in class_names, -1 for none"} if model.uses_classes else {}


class Tape(NoiseProcess):
    """A process that records the values of another one, and then replays them in the same order as constants."""

    def __init__(self, process: NoiseProcess) -> None:
        super().__init__(process.levels)
        self.process = process
        self.t_min, self.t_min_trained, self.t_max = process.t_min, process.t_min_trained, process.t_max
        self.values: list[float] = []
        self.position: int | None = None

    @property
    def on_cpu(self) -> NoiseProcess:
        return self.process.on_cpu

    def rewind(self) -> None:
        """Replay from the beginning."""
        self.position = 0

    def _played(self, name: str, t: Tensor) -> Tensor:
        if self.position is None:
            value = getattr(self.process, name)(t)
            self.values.append(value.flatten()[0].item())
            return value
        self.position += 1
        return torch.full_like(t, self.values[self.position - 1])

    def alpha(self, t: Tensor) -> Tensor:
        return self._played("alpha", t)

    def sigma(self, t: Tensor) -> Tensor:
        return self._played("sigma", t)

    def alpha_rate(self, t: Tensor) -> Tensor:
        return self._played("alpha_rate", t)

    def sigma_rate(self, t: Tensor) -> Tensor:
        return self._played("sigma_rate", t)

    def log_snr(self, t: Tensor) -> Tensor:
        return self._played("log_snr", t)

    def time(self, log_snr: Tensor) -> Tensor:
        return self._played("time", log_snr)


class Unrolled(nn.Module):
    """All steps of a sampler: noise [B, ...], and the condition, to images [B, C, H, W] in [-1, 1].

    Args:
        model: The model, whose process is replaced by a `Tape` of it.
        sampler: A sampler that adds no noise in its steps.
        noise: Example noise, with which the process is recorded.
        condition: The example condition.
    """

    def __init__(self, model: DiffusionModel, sampler: Sampler, noise: Tensor, condition: dict[str, Tensor]) -> None:
        super().__init__()
        self.model, self.sampler, self.names = model, sampler, tuple(condition)
        process = model.process
        self.scale, grid = process.prior_std, sampler.time_grid(process)
        self.tape = model.denoiser.process = Tape(process)
        self.state = SamplerState(self._conditioned(condition), grid, _none, noise.device)
        with torch.no_grad():
            self._images(noise, condition)

    def _conditioned(self, condition: dict[str, Tensor]) -> ConditionedDenoiser:
        return ConditionedDenoiser(self.model.denoiser, condition)

    def _images(self, noise: Tensor, condition: dict[str, Tensor]) -> Tensor:
        state = copy.copy(self.state)
        state.denoiser, state.history = self._conditioned(condition), {}
        x = self.scale * noise
        for i in range(len(state.grid_times) - 1):
            x = self.sampler.step(state, x, i)
            state.history.pop(i - HISTORY_LENGTH, None)
        return self.model.latents.decode(x)

    def forward(self, *inputs: Tensor) -> Tensor:
        self.tape.rewind()
        return self._images(inputs[0], dict(zip(self.names, inputs[1:], strict=True)))


def _none(step: int) -> Tensor:
    raise UserError("this sampler adds noise in its steps; choose a deterministic one, such as ddim")
