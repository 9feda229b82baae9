"""Infinite values: refused by all that takes images, but for training, where the loss is reported with its step."""

import pytest
import torch

from genmods.core.errors import UserError
from genmods.core.image_range import check_images

INFINITE = torch.full((2, 1, 4, 4), torch.inf)


@pytest.mark.parametrize("noisy", [False, True])
def test_infinite_images_are_refused_outside_of_training(noisy):
    with torch.no_grad(), pytest.raises(UserError, match="got the value inf"):
        check_images(INFINITE, (1, 4, 4), noisy)


def test_training_leaves_infinite_images_to_the_loss():
    check_images(INFINITE, (1, 4, 4), noisy=True)
    with pytest.raises(UserError, match="got the value inf"):
        check_images(INFINITE, (1, 4, 4))
    with pytest.raises(UserError, match="got the value 255"):
        check_images(torch.full((2, 1, 4, 4), 255.0), (1, 4, 4), noisy=True)
