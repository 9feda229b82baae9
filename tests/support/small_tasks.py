"""Small tasks of every kind, and batches for them."""

import torch

from genmods import create

FACTS = {"in_channels": 1, "image_size": 8}
SMALL = {"width": 8, "multipliers": (1, 2), "blocks": 1}
GUIDED = {"two_times": True, "guided": True}
LAYERS = ["conv 4", "pool 2"]


def diffusion(process="cosine", conditioning="class_labels", classes=3, task="diffusion", conditions=None, **settings):
    known = {"num_classes": classes, "cond_channels": 2 * (not classes), **(conditions or {})}
    network = create("network", "unet", **SMALL, **known)
    parts = {"process": create("process", process), "prediction": create("prediction", "v")}
    parts["conditioning"] = create("conditioning", conditioning, **({"num_classes": classes} if classes else FACTS))
    settings = {"sampler": create("sampler", "unipc", steps=2)} | settings | FACTS
    return create("task", task, network=network, **parts, **settings)


def latent():
    codec = create("network", "autoencoder", **FACTS, **SMALL, latent_channels=1)
    return diffusion(codec=codec)


def of_images(task, **settings):
    network = create("network", "cnn", layers=LAYERS, num_classes=3, **FACTS)
    return create("task", task, network=network, **settings, **FACTS)


def gan(gamma):
    network = create("network", "generator", latent=4, **SMALL, **FACTS)
    discriminator = create("network", "discriminator", **SMALL)
    return create("task", "gan", network=network, discriminator=discriminator, latent=4, gamma=gamma, **FACTS)


def vae():
    return create("task", "vae", network=create("network", "autoencoder", **FACTS, **SMALL), **FACTS)


def restoration():
    operator = create("operator", "gaussian_blur", sigma=1.0)
    return create("task", "restoration", model=diffusion(), operator=operator, sigma=10.0, steps=2)


def restoration_network(loss):
    network = create("network", "plain_unet", in_channels=1, **SMALL)
    parts = {"corruption": create("corruption", "gaussian"), "loss": create("restoration_loss", loss)}
    return create("task", "restoration_network", network=network, **parts, **FACTS)


TASKS = {
    "classification": lambda: of_images("classification", num_classes=3, augment_test="flip_shift"),
    "consistency": lambda: diffusion(task="consistency", sampler=create("sampler", "consistency")),
    "diffusion": diffusion,
    "diffusion of latents": latent,
    "diffusion with masks": lambda: diffusion(conditioning="masked_image", classes=0),
    "diffusion by likelihood": lambda: diffusion("learned", weighting=create("weighting", "elbo")),
    "gan": lambda: gan(0.0),
    "gan with R1": lambda: gan(1.0),
    "mean_flow": lambda: diffusion(task="mean_flow", conditions={"two_times": True}),
    "mean_flow with guidance": lambda: diffusion(task="mean_flow", conditions=GUIDED, max_guidance=3.0),
    "multilabel": lambda: of_images("multilabel", num_classes=3),
    "ot_flow": lambda: diffusion(task="ot_flow"),
    "regression": lambda: of_images("regression"),
    "restoration": restoration,
    "restoration_network": lambda: restoration_network("supervised"),
    "restoration_network without clean images": lambda: restoration_network("sure"),
    "vae": vae,
}


def batch(name, device):
    labels = {"multilabel": torch.zeros(4, 3, device=device), "regression": torch.zeros(4, 3, device=device)}
    label = torch.zeros(4, dtype=torch.int64, device=device)
    images = torch.zeros(4, 1, 8, 8, device=device)
    index = torch.arange(4, device=device)
    return {"image": images, "label": labels.get(name, label), "index": index, "epoch": torch.zeros_like(index)}


def made(name):
    """The task `name`, whose logs go nowhere."""
    torch.manual_seed(0)
    task = TASKS[name]()
    task.log_mean = task.log = lambda *args, **kwargs: None
    return task
