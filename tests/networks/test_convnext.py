import pytest
import torch
from torchvision import models

from genmods.networks.convnext import ConvNeXt


def test_is_torchvisions_convnext_with_its_weights():
    torch.manual_seed(0)
    theirs = models.convnext_tiny(num_classes=5).eval()
    ours = ConvNeXt((96, 192, 384, 768), (3, 3, 9, 3), patch=4, in_channels=3, image_size=64, num_classes=5).eval()
    with torch.no_grad():
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            q.add_(0.05 * torch.randn_like(q))
            p.copy_(q.view_as(p))
        x = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [8, 28])
def test_shapes_and_gradients(size):
    network = ConvNeXt((8, 12), (1, 2), in_channels=2, image_size=size, num_classes=3)
    x = torch.randn(2, 2, size, size)
    assert network(x).shape == (2, 3) and network.features(x).shape == (2, 12)
    network(x).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"image_size": 4}, "image_size must be at least .* = 8, got 4"),
        ({"widths": (8,)}, r"blocks must be of len\(widths\) = 1 item"),
        ({"kernel": 4}, "odd"),
        ({"drop_path": 1.5}, "drop_path"),
    ],
)
def test_refuses(settings, match):
    with pytest.raises(ValueError, match=match):
        ConvNeXt(**settings)
