"""The names of logged metrics, pictures and tables, and whether a metric is better low or high.

A name is `stage/metric`; the stage is train, val, test or noise (loss by noise level). A sample count is part of the
name (`val/fid_2k`), because the value depends on it.
"""

from __future__ import annotations

import re
from typing import Literal

Direction = Literal["min", "max", "last"]

METRICS: dict[str, str] = {
    "train/loss": "training loss, averaged over the batch",
    "train/lr": "learning rate of the first group",
    "train/grad_norm": "L2 norm of the whole gradient before clipping",
    "train/update_norm": "L2 norm of the last parameter update",
    "train/update_ratio": "update norm over parameter norm; about 1e-3 in a healthy run",
    "train/images_per_s": "images per second over all devices, since the last row",
    "train/memory_gb": "peak memory in 1e9 bytes, of the first device, otherwise of the process",
    "train/parameters": "number of parameters, at the first step",
    "train/loss_discriminator": "loss of a GAN's discriminator",
    "val/loss": "validation loss, with EMA weights if there are any",
    "val/acc": "validation accuracy",
    "val/acc_class_mean": "recall of each class, averaged over the classes",
    "val/f1_class_mean": "F1 of each class, averaged over the classes",
    "val/ece": "expected calibration error",
    "val/ece_calibrated": "the same after temperature scaling, by `validate` and `test`",
    "val/map": "mean average precision of multilabel classification",
    "val/r2": "coefficient of determination of a regression",
    "val/mae": "mean absolute error of a regression",
    "val/bpd": "bits per dimension on validation images",
    "val/fid_N": "Fréchet distance of N samples to the training images",
    "val/kid_N": "kernel distance of N samples to the training images",
    "val/reconstruction": "-ln p(image given its latents) of an autoencoder, nats per image",
    "val/kl": "divergence of an autoencoder's latents from the prior",
    "val/margin": "mean logit of a GAN's discriminator for validation images minus that for generated images",
    "noise/loss_K": "training loss in bin K of log-SNR, low noise first",
    "val/psnr": "peak signal-to-noise ratio of restored validation images in dB; for inpainting, in the hole only",
    "val/ssim": "structural similarity of restored validation images",
    "test/NAME": "any `val/NAME` on the test images, by `test`; any metric of `evaluate`",
}

PICTURES: dict[str, str] = {
    "samples/grid": "samples of fixed seeds from EMA weights",
    "samples/raw": "the same seeds from raw weights",
    "samples/strip": "forward and reverse diffusion of a few images",
    "samples/features": "feature maps of one image",
    "samples/worst": "the validation images with the largest loss",
    "samples/nearest": "samples and their nearest training images",
    "samples/anomaly": "the most unusual test images, and the least unusual of the images of `evaluate --against`",
    "samples/denoise": "clean, noisy and denoised images",
    "samples/inpaint": "clean, masked and inpainted images",
    "samples/test_restored": "clean, measured and restored test images of a restoration; `val_...` by `validate`",
    "samples/test_confusion": "confusion matrix of the test images; `val_...` by `validate`",
    "samples/test_worst": "the most confident mistakes on the test images",
    "samples/test_reliability": "accuracy against confidence, before and after temperature scaling",
}

TABLES: dict[str, str] = {
    "samples/table": "samples of an evaluation: step, seed, number, condition, sampler, NFE, image",
    "val/confusion": "counts of validation images by true and predicted class",
    "val/worst": "the validation images with the largest loss: image, file, true class, predicted class, loss",
    "anomaly": "images of `evaluate --against`: file, anomaly score, most unusual first",
    "nearest": "samples suspected of being copies: number, nearest training images, their distances, by `evaluate`",
    "test/restored": "test images of a restoration: number, clean, measured, restored, PSNR; `val/...` by `validate`",
}

_BETTER_HIGH = (
    "acc",
    "f1",
    "map",
    "r2",
    "psnr",
    "ssim",
    "is",
    "precision",
    "recall",
    "density",
    "coverage",
    "images",
    "knn",
    "cluster",
    "purity",
)
_BETTER_LOW = ("loss", "fid", "kid", "mind", "bpd", "ece", "nll", "mse", "mae", "error", "memorized", "reconstruction")


def documented(name: str) -> str:
    """The key in the table above for a logged name, such as `val/fid_N` for `val/fid_2k`."""
    row = re.sub(r"_\d+k?$", "_K" if name.startswith("noise/") else "_N", name)
    other = row.replace("test/", "val/", 1)
    return row if row in METRICS or other not in METRICS else other


def direction(name: str) -> Direction:
    """Whether a metric is better low ("min"), high ("max"), or neither ("last"), from the first word of its name."""
    word = name.rsplit("/", 1)[-1].split("_")[0]
    if word in _BETTER_HIGH:
        return "max"
    return "min" if word in _BETTER_LOW else "last"
