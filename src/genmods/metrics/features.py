"""Feature extractors for distances between sets of images: frozen functions images -> [B, D] with an identifying name.

The name contains the hash of the weights: two metric values are comparable exactly if their feature names are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from genmods.core.errors import UserError
from genmods.data.images import to_float, to_uint8
from genmods.models import Classifies
from genmods.networks.base import Network

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


def weights_hash(module: nn.Module) -> str:
    """The first 10 hexadecimal digits of the SHA-256 over a module's tensors, names and shapes included."""
    digest = hashlib.sha256()
    for name, value in sorted({**module.state_dict(), **dict(module.named_buffers())}.items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:10]


def as_float(images: Tensor, levels: int = 256) -> Tensor:
    """Images [B, C, H, W] as float32 in [-1, 1]; stored images have the values 0 ... `levels` - 1."""
    return images.float() if images.is_floating_point() else to_float(images, levels)


@dataclass
class Features:
    """A frozen extractor: `function` maps images [B, C, H, W] in [-1, 1] to [B, D]; `classify` to class probabilities
    [B, K].
    """

    name: str
    function: Callable[[Tensor], Tensor]
    classify: Callable[[Tensor], Tensor] | None = None
    batch_size: int = 500

    def __call__(self, images: Tensor, levels: int = 256) -> Tensor:
        """Features [N, D], float32 on the CPU, of images uint8 or float in [-1, 1], batch by batch."""
        return self._run(self.function, images, levels)

    def probabilities(self, images: Tensor, levels: int = 256) -> Tensor:
        """Class probabilities [N, K] of images [N, C, H, W]; raises UserError if the extractor has no classes."""
        if self.classify is None:
            raise UserError(f"the inception score requires features of a classifier, got '{self.name}'")
        return self._run(self.classify, images, levels)

    @torch.no_grad()
    def _run(self, function: Callable[[Tensor], Tensor], images: Tensor, levels: int) -> Tensor:
        batches = images.split(self.batch_size)
        return torch.cat([function(as_float(batch, levels)).flatten(1).float().cpu() for batch in batches])


def classifier_features(classifier: nn.Module, device: torch.device | str = "cpu") -> Features:
    """The embedding of a classifier before its head: `classifier.features(x)` for x [B, C, H, W] in [-1, 1].

    Class probabilities are those of a classification task, or the softmax of a bare network's logits. The classifier is
    set to evaluation mode and frozen. Raises UserError if it has no `features`.
    """
    embed = getattr(classifier, "features", None)
    if not callable(embed):
        raise UserError(f"features: expected a classifier, got {type(classifier).__name__}")
    classifier.eval().requires_grad_(False).to(device)
    name = f"classifier-{weights_hash(classifier)}"
    if isinstance(classifier, Classifies):
        probabilities = classifier.probabilities
        return Features(name, lambda x: embed(x.to(device)), lambda x: probabilities(x.to(device)))
    if isinstance(classifier, Network):
        seen = classifier.normalized
        return Features(
            name, lambda x: embed(seen(x.to(device))), lambda x: classifier(seen(x.to(device))).softmax(dim=1)
        )
    return Features(name, lambda x: embed(x.to(device)))


def pixel_features() -> Features:
    """The pixels as features, without a network, for tests and very small images."""
    return Features("pixels", lambda x: x.flatten(1))


def inception_features(device: torch.device | str = "cpu", weights: str | None = None) -> Features:
    """The Inception network used for published FIDs, 2048 features, from a file `weights`, by default in torch's hub
    folder.

    Nothing is downloaded. Raises UserError if the file or the package torch-fidelity is missing.
    """
    path = Path(weights).expanduser() if weights else Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not path.is_file():
        raise UserError(f"no Inception weights at {path}; download them or use the features of a classifier's run")
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path)).to(device)
    except (ImportError, ModuleNotFoundError) as error:
        raise UserError("the features 'inception' require the package torch-fidelity") from error

    def function(x: Tensor) -> Tensor:
        return network(to_uint8(x).expand(-1, 3, -1, -1).to(device))

    return Features(f"inception-{weights_hash(network)}", function, batch_size=100)
