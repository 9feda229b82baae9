import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from genmods.models import Classifier
from genmods.networks.airbench import Airbench, AirbenchBlock, whitening
from genmods.networks.training import NetworkTraining


def images(n=400, channels=3, size=12):
    """Smooth random images, so that neighbouring pixels correlate."""
    torch.manual_seed(0)
    return F.avg_pool2d(torch.randn(n, channels, size + 2, size + 2), 3, 1).cumsum(1) + 0.3


@pytest.mark.parametrize("kernel", [2, 3])
def test_whitened_patches_have_unit_covariance(kernel):
    x = images()
    filters, bias = whitening(x, kernel, eps=0.0)
    dimension = 3 * kernel**2
    out = F.conv2d(x.double(), filters.double(), bias.double()).movedim(1, 0).flatten(1)
    torch.testing.assert_close(torch.cov(out[:dimension]), torch.eye(dimension).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(out[:dimension], -out[dimension:])
    assert out.mean(1).abs().max() < 1e-4


def test_constant_images_have_finite_filters():
    filters, bias = whitening(torch.full((4, 1, 8, 8), -1.0), 2)
    assert filters.isfinite().all() and bias.isfinite().all()


def test_prepare_sets_the_frozen_layer():
    network = Airbench((8, 16), in_channels=3, image_size=12)
    network.fit_statistics(images())
    filters, bias = whitening(images(), 2)
    assert torch.equal(network.whiten.weight, filters) and torch.equal(network.whiten.bias, bias)
    assert "whiten.weight" in network.state_dict() and "whiten.weight" not in dict(network.named_parameters())


@pytest.mark.parametrize(("channels", "fits_again"), [(1, False), (3, True)])
def test_whitening_is_fitted_again_unless_it_was_loaded(channels, fits_again, tmp_path):
    earlier = Airbench(widths=(8, 8), in_channels=1, image_size=16)
    save_file(earlier.state_dict(), tmp_path / "earlier.safetensors")
    network = Airbench(widths=(8, 8), in_channels=channels, image_size=16)
    NetworkTraining(weights=str(tmp_path / "earlier.safetensors")).apply(network)
    before = network.whiten.weight.clone()
    Classifier(network, num_classes=10, in_channels=channels, image_size=16).fit_statistics(
        {"image": images(64, channels, 16)}
    )
    assert torch.equal(network.whiten.weight, before) != fits_again


def test_convolutions_start_as_the_identity():
    block = AirbenchBlock(4, 8, 1)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block.convs[0](x)[:, :4], x)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("size", [8, 28])
def test_shapes_and_gradients(depth, size):
    network = Airbench((8, 12), depth, in_channels=2, image_size=size, num_classes=5)
    x = torch.randn(4, 2, size, size)
    logits = network(x)
    assert logits.shape == (4, 5) and network.features(x).shape == (4, 12)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in network.parameters() if p.requires_grad)
    assert [name for name, p in network.named_parameters() if not p.requires_grad] == [
        f"blocks.{i}.norms.{j}.weight" for i in range(2) for j in range(depth)
    ]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"image_size": 8}, "image_size must be at least .* = 9, got 8"),
        ({"widths": ()}, "widths"),
        ({"depth": 0}, "depth"),
    ],
)
def test_refuses(settings, match):
    with pytest.raises(ValueError, match=match):
        Airbench(**settings)
