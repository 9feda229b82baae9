"""Diffusion models with the network `diffusers` as folders that `DDPMPipeline` and `DDIMPipeline` load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genmods.core.errors import UserError
from genmods.core.printable import counted
from genmods.diffusion.prediction import EpsPrediction, VPrediction, X0Prediction
from genmods.models import DiffusionModel
from genmods.networks.adapters.diffusers import DiffusersUNet, library

_PREDICTIONS = {EpsPrediction: "epsilon", VPrediction: "v_prediction", X0Prediction: "sample"}
_CLOSE = 1e-3
"""The largest difference between log-SNRs of the process and of the network's table."""


def export_diffusers(model: Any, folder: Path) -> list[Path]:
    """Write a pipeline (`unet/`, `scheduler/`, `model_index.json`) and return its files.

    The scheduler has the levels of the process, does not clip its samples, and spaces its steps like genmods
    ("trailing"), so that DDIM with η = 0 gives the same samples from the same noise.

    Raises:
        UserError: If no scheduler of diffusers describes the model.
    """
    if problem := _problem(model):
        raise UserError(f"no pipeline of diffusers describes this model: {problem}")
    diffusers: Any = library()
    kept = alphas_cumprod(model)
    betas = 1 - kept / torch.cat([torch.ones(1, dtype=kept.dtype), kept[:-1]])
    scheduler = diffusers.DDPMScheduler(
        num_train_timesteps=len(betas),
        trained_betas=betas.tolist(),
        prediction_type=_PREDICTIONS[type(model.denoiser.prediction)],
        clip_sample=False,
        timestep_spacing="trailing",
    )
    diffusers.DDPMPipeline(model.denoiser.network.model, scheduler).save_pretrained(folder, safe_serialization=True)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def alphas_cumprod(model: DiffusionModel) -> Tensor:
    """α² at the levels [T] of a discrete process, float64."""
    process = model.process.on_cpu
    assert process.levels is not None
    return process.alpha(process.levels).square()


def _problem(model: Any) -> str:
    """Why no pipeline describes a model; empty if one does."""
    if not isinstance(model, DiffusionModel):
        return f"it is a {type(model).__name__}, not a diffusion model"
    network, process = model.denoiser.network, model.process.on_cpu
    if not isinstance(network, DiffusersUNet):
        return f"its network is a {type(network).__name__}, not that of diffusers"
    if not model.latents.is_pixels:
        return "it is a model of latents"
    if model.conditioning.names or network.num_classes:
        return "it is conditional; DDPMPipeline is unconditional"
    if type(model.denoiser.prediction) not in _PREDICTIONS:
        return f"its prediction is a {type(model.denoiser.prediction).__name__}, not eps, v or x0"
    if process.levels is None:
        return "its process is continuous; set the steps of the process"
    if not torch.allclose(process.alpha(process.levels).hypot(process.sigma(process.levels)), torch.ones(1).double()):
        return "its process does not preserve the variance"
    if network.sigma_data != model.denoiser.sigma_data:
        return f"its network has sigma_data {network.sigma_data:g}, its denoiser {model.denoiser.sigma_data:g}"
    levels = process.log_snr(process.levels)
    if levels.shape != network.log_snrs.shape:
        return f"its process has {counted(len(levels), 'step')}, the table of its network {len(network.log_snrs)}"
    difference = (levels - network.log_snrs.double()).abs().max().item()
    if difference > _CLOSE:
        return f"the levels of its process are not those of its network's betas, log-SNRs differ by {difference:.2g}"
    return ""
