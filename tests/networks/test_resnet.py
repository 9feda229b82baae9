import pytest
import torch
from torchvision import models

from genmods.networks.resnet import ResNet, WideResNet


@pytest.mark.parametrize(
    ("name", "blocks", "block"),
    [
        ("resnet18", (2, 2, 2, 2), "basic"),
        ("resnet34", (3, 4, 6, 3), "basic"),
        ("resnet50", (3, 4, 6, 3), "bottleneck"),
    ],
)
def test_is_torchvisions_net_with_its_weights(name, blocks, block):
    torch.manual_seed(0)
    reference = getattr(models, name)(num_classes=5).eval()
    network = ResNet(blocks=blocks, block=block, stem="large", shortcut="strided", in_channels=3, num_classes=5).eval()
    network.load_state_dict(reference.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), reference(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_pooled_shortcut_is_the_mean_of_four_pixels_in_the_strided_ones_weights(block):
    torch.manual_seed(0)
    pooled, strided = (ResNet(width=8, blocks=(1, 1), block=block, shortcut=kind) for kind in ("pooled", "strided"))
    pooled.load_state_dict(strided.state_dict())
    averaging, picking = pooled.layer2[0].downsample.eval(), strided.layer2[0].downsample.eval()
    x = torch.randn(2, averaging[1].in_channels, 7, 6)
    means = torch.stack([x[:, :, i : i + 2].mean(2) for i in range(0, 7, 2)], 2)
    means = torch.stack([means[..., j : j + 2].mean(3) for j in range(0, 6, 2)], 3)
    expected = picking(means.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(averaging(x), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(averaging(x), picking(x), atol=1e-2)


def test_blocks_start_as_the_identity():
    network = ResNet(width=8, blocks=(3,)).eval()
    x = torch.randn(2, 8, 6, 6).relu()
    torch.testing.assert_close(network.layer1(x), x)


@pytest.mark.parametrize(("depth", "widen", "millions"), [(16, 4, 2.75), (28, 10, 36.5), (40, 4, 8.95)])
def test_wide_resnet_has_the_papers_parameter_count(depth, widen, millions):
    with torch.device("meta"):
        network = WideResNet(depth, widen, in_channels=3)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


NETWORKS = [
    lambda **facts: ResNet(width=8, blocks=(1, 1), drop_path=0.2, dropout=0.1, **facts),
    lambda **facts: ResNet(width=4, blocks=(1, 1), block="bottleneck", **facts),
    lambda **facts: ResNet(width=16, blocks=(1, 1), shortcut="strided", **facts),
    lambda **facts: WideResNet(10, 1, dropout=0.1, **facts),
]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("size", [8, 15])
def test_shapes_and_gradients(make, size):
    network = make(in_channels=2, num_classes=3)
    x = torch.randn(4, 2, size, size)
    logits = network(x)
    assert logits.shape == (4, 3)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    assert network.features(x).ndim == 2


def test_drop_path_keeps_the_mean():
    from genmods.networks.parts import DropPath

    torch.manual_seed(0)
    out = DropPath(0.25)(torch.ones(40_000, 1, 1, 2))
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (out[:, 0, 0, 0] == out[:, 0, 0, 1]).all()
    assert out.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: WideResNet(depth=17), "4 more than a multiple of 6"),
        (lambda: ResNet(blocks=()), "blocks"),
        (lambda: ResNet(num_classes=0), "num_classes"),
        (lambda: ResNet(drop_path=1.0), "drop_path"),
    ],
)
def test_refuses(make, match):
    with pytest.raises(ValueError, match=match):
        make()
