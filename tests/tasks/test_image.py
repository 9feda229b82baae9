"""What the models around one network of images share: normalised inputs, a warm start, and refusals when built."""

import pytest
import torch

from genmods.models import (
    Classifier,
    Classifies,
    Denoises,
    Generates,
    HasLikelihood,
    Inspectable,
    MultilabelClassifier,
    Regressor,
)
from genmods.networks.airbench import Airbench, whitening
from genmods.networks.unet import UNet

MODELS = [Classifier, MultilabelClassifier, Regressor]


def make(kind, **settings):
    torch.manual_seed(0)
    network = Airbench(widths=(4, 4), in_channels=1, image_size=8, num_classes=3)
    return kind(network, image_size=8, mean=0.2, std=0.5, **settings)


def settings(kind):
    return {} if kind is Regressor else {"num_classes": 3}


@pytest.mark.parametrize("kind", MODELS)
def test_the_network_is_prepared_with_normalised_images(kind):
    made, images = make(kind, **settings(kind)), torch.rand(20, 1, 8, 8)
    made.fit_statistics({"image": images})
    torch.testing.assert_close(made.network.whiten.weight, whitening((images - 0.2) / 0.5, 2)[0])


@pytest.mark.parametrize("kind", MODELS)
def test_outputs_and_embeddings_are_those_of_normalised_images(kind):
    made, images = make(kind, **settings(kind)).eval(), torch.rand(5, 1, 8, 8)
    inputs = (images - 0.2) / 0.5
    torch.testing.assert_close(made(images), made.network(inputs))
    torch.testing.assert_close(made.features(images), made.network.features(inputs))
    assert made.image_shape == (1, 8, 8)
    assert made.network.blocks[0].convs[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", MODELS)
def test_a_network_that_does_not_fit_is_refused_when_built(kind):
    with pytest.raises(ValueError, match="UNet does not fit this task"):
        kind(UNet(width=8, multipliers=(1,)), **settings(kind))


def test_what_was_in_eval_mode_stays_so():
    network = Airbench(widths=(4, 4), in_channels=1, image_size=8, num_classes=3)
    network.blocks[0].norms.eval()  # a frozen norm
    before = {name: part.training for name, part in network.named_modules()}
    Classifier(network, num_classes=3, image_size=8)
    assert {name: part.training for name, part in network.named_modules()} == before and network.training


@pytest.mark.parametrize("kind", MODELS)
def test_it_does_not_generate_and_is_refused(kind):
    made = make(kind, **settings(kind))
    abilities = {one for one in (Generates, Classifies, Denoises, HasLikelihood, Inspectable) if isinstance(made, one)}
    assert abilities == ({Classifies, Inspectable} if kind is Classifier else {Inspectable})


def test_logits_are_one_a_class_and_targets_are_any_number():
    with pytest.raises(ValueError, match=r"Airbench must return 4 logits per image, got \[3\]"):
        make(MultilabelClassifier, num_classes=4)

    class Maps(Airbench):
        def forward(self, x):
            return self.whiten(x)

    with pytest.raises(ValueError, match="must return a vector per image"):
        Regressor(Maps(widths=(4,), image_size=8), image_size=8)
