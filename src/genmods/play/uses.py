"""What the playground does with a model: each use maps the fields of a request to a JSON object with pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genmods.config import registry
from genmods.core import random
from genmods.core.devices import float64_device
from genmods.core.errors import UserError
from genmods.core.progress import Progress
from genmods.data.decoding import prepared
from genmods.data.preparation import Preparation
from genmods.diffusion.denoiser import Denoise, DenoiserWrapper, matching_time
from genmods.diffusion.prediction import Estimate
from genmods.models import Classifies, Conditional, Denoises, DiffusionClassifier, Editor, Generates, Inspectable
from genmods.play.fields import Fields
from genmods.play.pictures import centered, encoded, heat, png, signed
from genmods.restoration import Restorer
from genmods.visual.gradcam import evidence
from genmods.visual.layers import strongest
from genmods.visual.picture import to_picture
from genmods.visual.trace import stages, trace

MAPS = 8
"""Feature maps shown per layer."""
FILLINGS = 4
"""Samples of an inpainting."""
FRAMES = 200
"""The largest number of steps of a reverse process that is shown."""

Answer = dict[str, Any]


def uses_of(model: Any) -> list[str]:
    """The names in `USES` that a model supports."""
    shape = getattr(model, "image_shape", None)
    if shape is None:
        return []
    pixels = isinstance(model, Denoises) and model.diffusion_model().latents.is_pixels
    found = {
        "classify": isinstance(model, Classifies) or (pixels and _is_labelled(model)),
        "look": isinstance(model, Inspectable),
        "noise": pixels,
        "inpaint": pixels,
        "interpolate": isinstance(model, Denoises),
        "generate": isinstance(model, Generates),
    }
    return [name for name, fits in found.items() if fits]


def _is_labelled(model: Any) -> bool:
    return isinstance(model, Conditional) and "label" in model.conditioned_on().names


def classify(model: Any, fields: Fields, progress: Progress) -> Answer:
    """The classes of a picture; a diffusion model is used as a classifier."""
    image = _image(model, fields)
    classifier = model if isinstance(model, Classifies) else DiffusionClassifier(model, num_times=8)
    (row,) = classifier.probabilities(image[None].to(model.device)).tolist()
    classes = [{"name": name, "probability": p} for name, p in zip(model.class_names, row, strict=True)]
    return {"input": png(image), "classes": classes}


def look(model: Any, fields: Fields, progress: Progress) -> Answer:
    """The strongest feature maps of each resolution, and Grad-CAM of the most probable class of a classifier."""
    image = _image(model, fields)
    sigma = fields.number("sigma", 0.3, 0.001, 100.0)
    found = model.inspect(image.to(model.device), None, sigma)
    with torch.no_grad():
        steps = stages(trace(found.network, *found.inputs))
    layers = []
    for step in steps:
        maps = step.output[0].float()
        pictures = [heat(maps[k] - maps[k].min()) for k in strongest(maps, MAPS)]
        layers.append({"name": step.name, "shape": list(maps.shape), "maps": pictures})
    answer: Answer = {"input": png(found.shown), "layers": layers}
    if isinstance(model, Classifies):
        answer |= _evidence(model, image)
    return answer


def _evidence(model: Any, image: Tensor) -> Answer:
    best = int(model.probabilities(image[None].to(model.device)).argmax())
    try:
        (cam,) = evidence(model, image[None].to(model.device), torch.tensor([best], device=model.device))
    except ValueError:  # a network without feature maps
        return {}
    size = [max(64, side) for side in image.shape[1:]]
    smooth = F.interpolate(cam[None, None].float(), size=size, mode="bicubic", align_corners=False)[0, 0].clamp_min(0)
    return {"cam": heat(smooth), "cam_of": model.class_names[best]}


@torch.no_grad()
def noise(model: Any, fields: Fields, progress: Progress) -> Answer:
    """A picture with noise, the estimates of data and noise, and the score -ε/σ."""
    diffusion = model.diffusion_model()
    image = _image(model, fields)
    ratio = torch.tensor([fields.number("sigma", 0.5, 0.001, 100.0)])
    cond = _condition(model, fields, 1)
    x0 = image[None].to(diffusion.device, diffusion.dtype)
    on_cpu = diffusion.process.on_cpu
    t = matching_time(on_cpu, ratio)
    key = random.fold(fields.integer("seed", 0, 0, 2**31 - 1))[None]
    eps = random.normal(key, x0.numel()).view_as(x0).to(x0)
    at = t.to(float64_device(x0.device))
    x_t = diffusion.process.diffuse(x0, eps, at)
    number = torch.zeros(1, dtype=torch.int64, device=x0.device)
    requested = diffusion.conditioning.requested(1, cond, number, x0.device) if cond else None
    denoise = diffusion.unconditional(1) if requested is None else diffusion.denoise(requested)
    estimate = denoise(x_t, at)
    alpha, sigma = on_cpu.alpha(t).item(), on_cpu.sigma(t).item()
    rms = (estimate.x0 - x0).square().mean().sqrt().item()
    return {
        "input": png(image),
        "noisy": png(x_t[0] / math.hypot(alpha, sigma)),
        "estimate": png(estimate.x0[0]),
        "score": signed(-estimate.eps[0] / sigma),
        "t": t.item(),
        "log_snr": 2 * math.log(alpha / sigma),
        "error": rms,
    }


def inpaint(model: Any, fields: Fields, progress: Progress) -> Answer:
    """Fillings of the painted part of a picture, and their standard deviation."""
    image = _image(model, fields)
    painted = fields.picture("mask").convert("L").resize((image.shape[2], image.shape[1]), _BOX)
    hole = torch.tensor(list(painted.getdata())).view(image.shape[1:]) > 80
    if not hole.any() or hole.all():
        raise UserError("mask: paint a part of the picture")
    restorer = Restorer(model, steps=fields.integer("steps", 20, 2, 200), seed=fields.integer("seed", 0, 0, 2**31 - 1))
    label = _condition(model, fields, 1).get("label")
    drawn = restorer.inpaint(image[None], hole, samples=FILLINGS, label=label, progress=progress)[:, 0]
    spread = drawn.std(0).mean(0)
    covered = torch.where(hole, torch.zeros(()), image)
    return {
        "input": png(covered),
        "fillings": [png(one) for one in drawn],
        "spread": heat(spread, 1.0),
        "mean_spread": spread[hole].mean().item(),
    }


@dataclass(frozen=True)
class Recorder(DenoiserWrapper):
    """A denoiser that keeps what it is called with and what it returns, with x_t scaled to unit variance."""

    calls: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)

    def __call__(self, x_t: Tensor, t: Tensor) -> Estimate:
        """The estimate at `x_t` [B, ...] and `t` [B]."""
        estimate, first = self.denoiser(x_t, t), t[:1].cpu()
        alpha, sigma = self.process.on_cpu.alpha(first).item(), self.process.on_cpu.sigma(first).item()
        ratio = sigma / alpha if alpha > 0 else math.inf
        if len(self.calls) < FRAMES:
            self.calls.append((x_t / math.hypot(alpha, sigma), estimate.x0, ratio))
        return estimate


def generate(model: Any, fields: Fields, progress: Progress) -> Answer:
    """Samples, and for a diffusion model of pixels the reverse process call by call."""
    count = fields.integer("n", 8, 1, 64)
    seed = fields.integer("seed", 0, 0, 2**31 - 1)
    settings: dict[str, Any] = {"seed": seed, "progress": progress}
    cond = _condition(model, fields, 1)
    if cond:
        settings["condition"] = cond
    recorders: list[Recorder] = []
    if isinstance(model, Denoises):
        diffusion = model.diffusion_model()
        scale, sampler = (
            fields.number("guidance", 1.0, 0.0, 20.0),
            fields.choice("sampler", registry.names("sampler"), "unipc"),
        )
        if scale != 1 and not diffusion.conditioning.names:
            raise UserError("guidance: the model is unconditional")

        def guide(condition: dict[str, Tensor], indices: Tensor) -> Denoise:
            denoise = diffusion.denoise(condition, scale)
            if sampler == "mean_flow":  # calls more than the estimate
                return denoise
            recorders.append(Recorder(denoise))
            return recorders[-1]

        settings |= {"guide": guide, "sampler": sampler, "steps": fields.integer("steps", 8, 1, FRAMES)}
    samples = model.sample(count, **settings)
    answer: Answer = {"samples": [png(image) for image in samples], "grid": _grid(samples), "frames": []}
    if recorders and model.diffusion_model().latents.is_pixels:
        for x_t, x0, ratio in recorders[0].calls:
            answer["frames"].append({"x": _grid(x_t), "x0": _grid(x0), "sigma": min(ratio, 1e6)})
    return answer


def interpolate(model: Any, fields: Fields, progress: Progress) -> Answer:
    """Pictures between two pictures, by spherical interpolation of their latents."""
    first, second = (_image(model, fields, name) for name in ("image", "second"))
    cond = _condition(model, fields, 1)
    frames = Editor(model, steps=fields.integer("steps", 16, 2, 200)).interpolate(
        first[None].to(model.device), second[None].to(model.device), fields.integer("frames", 9, 2, 33), cond, progress
    )
    return {"frames": [png(frame) for frame in frames[:, 0]]}


Use = Callable[[Any, Fields, Progress], Answer]
USES: dict[str, Use] = {
    "classify": classify,
    "look": look,
    "noise": noise,
    "inpaint": inpaint,
    "interpolate": interpolate,
    "generate": generate,
}
_BOX = 4  # Image.Resampling.BOX


def _image(model: Any, fields: Fields, name: str = "image") -> Tensor:
    """A picture of the request [C, H, W] in [-1, 1], prepared like the training images of the model."""
    picture = fields.picture(name)
    preparation = model.preparation or Preparation.of_shape(model.image_shape)
    if preparation is None:
        raise UserError("expected a model of images")
    return prepared(centered(picture) if fields.flag("drawing") else picture, preparation)


def _condition(model: Any, fields: Fields, count: int) -> dict[str, Any]:
    """The requested class, for a model that has classes as its condition; "" for the null condition."""
    if not _is_labelled(model):
        return {}
    label = fields.choice("label", ["", *model.class_names], "")
    return {"label": label} if label else {}


def _grid(images: Tensor) -> str:
    return encoded(to_picture(images, columns=min(4, len(images)), scale=1, gap=1))
