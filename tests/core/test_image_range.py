"""NaN and infinities: refused by all that takes images, except training, where the loss is reported with its step."""

import math

import pytest
import torch

from genmods.core.errors import UserError
from genmods.core.image_range import check_finite, check_images
from genmods.diffusion import CosineProcess, Denoiser, DiffusionLoss, VPrediction
from genmods.models import Classifier, DiffusionModel, Editor, Regressor
from genmods.networks import CNN, UNet
from genmods.restoration import BoxMask, Identity, Restorer
from genmods.restoration.network import RestorationNetwork

SHAPE = (1, 8, 8)
VALUES = [math.nan, math.inf, -math.inf]


def spoiled(value):
    images = torch.zeros(3, *SHAPE)
    images[1, 0, 2, 3:5] = value
    return images


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("noisy", [False, True])
def test_the_first_image_and_the_number_of_its_values_are_told(value, noisy):
    told = r"^images must be finite, got 2 NaN or infinite values in images\[1\]$"
    with pytest.raises(UserError, match=told):
        check_images(spoiled(value), SHAPE, noisy)
    several = torch.stack([spoiled(value)[1], *spoiled(value)])
    with pytest.raises(UserError, match=r"got 2 NaN or infinite values in images\[0\]; 2 of 4 images have some$"):
        check_finite(several)


@pytest.mark.parametrize("value", VALUES)
def test_training_leaves_them_to_the_loss(value):
    check_images(spoiled(value), SHAPE, noisy=True, finite=False)
    with pytest.raises(UserError, match="got the value 255"):
        check_images(torch.full((2, *SHAPE), 255.0), SHAPE, noisy=True, finite=False)
    model = Classifier(CNN(layers=("conv 4", "avgpool"), num_classes=2), num_classes=2, image_size=8)
    assert not model(spoiled(value)).isfinite().all()
    denoiser = Denoiser(unet(), CosineProcess(), VPrediction(), sigma_data=0.5)
    assert not DiffusionLoss()(denoiser, spoiled(value)).per_sample.isfinite().all()


def unet():
    return UNet(in_channels=1, width=8, multipliers=(1,), blocks=1, attention=())


@pytest.fixture(scope="module")
def diffusion():
    return DiffusionModel(unet(), CosineProcess(), VPrediction(), in_channels=1, image_size=8).eval()


@pytest.fixture(scope="module")
def uses(diffusion):
    """What takes images: name -> function."""
    cnn = {"network": CNN(layers=("conv 4", "avgpool"), num_classes=2), "image_size": 8}
    classifier, regressor = Classifier(num_classes=2, **cnn).eval(), Regressor(class_names=["a", "b"], **cnn).eval()
    network = RestorationNetwork(unet(), level="known", in_channels=1, image_size=8).eval()
    editor, restorer = Editor(diffusion, steps=2), Restorer(diffusion, steps=2)
    return {
        "probabilities": classifier.probabilities,
        "features": classifier.features,
        "logits": classifier,
        "inspect": lambda x: classifier.inspect(x[1], None, 0.0),
        "predictions": regressor.predictions,
        "likelihood": diffusion.likelihood().bound,
        "inspect diffusion": lambda x: diffusion.inspect(x[1], None, 0.1),
        "invert": editor.invert,
        "generate": editor.generate,
        "interpolate": lambda x: editor.interpolate(torch.zeros_like(x), x),
        "vary": lambda x: editor.vary(x, 0.5),
        "denoise": lambda x: restorer.denoise(x, 0.1),
        "estimate_noise": restorer.estimate_noise,
        "noise_level": restorer.noise_level,
        "inpaint": lambda x: restorer.inpaint(x, BoxMask(5, 5, 2, 2)),
        "restore": lambda x: restorer.restore(x, Identity(), 0.1),
        "restored": lambda x: network.restored(x, torch.tensor(0.1)),
        "denoise at once": lambda x: Restorer(network).denoise(x, 0.1),
    }


@pytest.mark.parametrize("value", VALUES)
def test_all_that_takes_images_refuses_them(uses, value):
    for name, use in uses.items():
        with pytest.raises(UserError, match=r"^(images|latents) must be finite, got 2 NaN or .* in (images|latents)\["):
            raise AssertionError(f"{name} returned {use(spoiled(value))}")


@pytest.mark.parametrize("value", VALUES)
def test_a_hole_may_have_any_values(diffusion, value):
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[2, 3:5] = True
    assert torch.isfinite(Restorer(diffusion, steps=2).inpaint(spoiled(value), hole)).all()
    assert torch.isfinite(Restorer(diffusion, steps=2).inpaint(spoiled(value), hole, "auto")).all()
