"""Small settings of every registered network, for images [2, 8, 8]: the one place that a new network adds to."""

from genmods.config.builtins import BUILTINS, imported
from genmods.networks.base import Network

_IMAGE = {"in_channels": 2, "image_size": 8}
DENOISERS = {
    "unet": {"in_channels": 2, "width": 4, "multipliers": (1, 2), "blocks": 1},
    "dit": {"in_channels": 2, "width": 8, "depth": 1},
    "unet_mp": {"in_channels": 2, "width": 4, "multipliers": (1, 2), "blocks": 1},
    "vdm": {"in_channels": 2, "width": 4, "depth": 1},
    "mlp": {**_IMAGE, "width": 8, "depth": 1},
    "plain_unet": {"in_channels": 2, "width": 4, "multipliers": (1, 2), "blocks": 1},
    "diffusers": {**_IMAGE, "channels": (8, 16), "blocks": 1},
}
"""Networks called with images, log-SNRs and a condition."""
CLASSIFIERS = {
    "cnn": {**_IMAGE, "layers": ["conv 4", "pool 2"]},
    "convnext": {**_IMAGE, "widths": (4,), "blocks": (1,), "patch": 2},
    "airbench": {**_IMAGE, "widths": (4, 8)},
    "resnet": {"in_channels": 2, "width": 4, "blocks": (1,)},
    "timm": {"in_channels": 2, "architecture": "test_resnet"},
    "torchvision": {"in_channels": 2, "architecture": "squeezenet1_1", "resize": 32},
    "wide_resnet": {"in_channels": 2, "depth": 10, "widen": 1},
}
OTHERS = {
    "autoencoder": {**_IMAGE, "width": 4, "multipliers": (1, 2)},
    "discriminator": {"in_channels": 2, "width": 4, "multipliers": (1, 2)},
    "generator": {**_IMAGE, "latent": 4, "width": 4, "multipliers": (1, 2)},
}
SMALL: dict[str, dict] = DENOISERS | CLASSIFIERS | OTHERS


def small(name: str, **settings: object) -> Network:
    """A small network, with `settings` in the place of some of its own."""
    return imported(BUILTINS["network"][name])(**{**SMALL[name], **settings})
