import pytest
import torch
from torch.func import jvp

from genmods.networks.blocks import position_features, rotated
from genmods.networks.dit import DiT, SwiGLU, perceptron


def test_positions_are_distinguished_and_each_axis_has_half_the_features():
    features = position_features(14, 9, 32, torch.device("cpu"))
    distances = torch.cdist(features, features) + 9 * torch.eye(len(features))
    assert distances.min() > 0.3
    table = features.view(14, 9, 32)
    assert torch.equal(table[:, 0, :16], table[:, 8, :16])
    assert torch.equal(table[0, :, 16:], table[13, :, 16:])


def test_a_patch_is_one_token():
    shapes = []
    network = DiT(width=16, depth=1, patch=4)
    network.blocks[0].register_forward_pre_hook(lambda module, inputs: shapes.append(inputs[0].shape))
    network(torch.zeros(1, 1, 8, 13), torch.zeros(1))
    assert shapes == [(1, 2 * 4, 16)]


@pytest.mark.parametrize("settings", [{"width": 18}, {"width": 128, "heads": 3}, {"depth": 0}, {"patch": 0}])
def test_bad_settings_are_named(settings):
    (name, value), *_ = settings.items()
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}$"):
        DiT(**settings)


def test_rotary_products_depend_on_differences_of_positions():
    g = torch.Generator().manual_seed(0)
    q, k = (torch.randn(8, generator=g, dtype=torch.float64).expand(5 * 6, 8) for _ in range(2))
    products = (rotated(q, 5, 6) @ rotated(k, 5, 6).T).view(5, 6, 5, 6)
    torch.testing.assert_close(products[1, 2, 3, 5], products[0, 0, 2, 3])
    torch.testing.assert_close(products[4, 1, 2, 4], products[3, 0, 1, 3])
    torch.testing.assert_close(products[2, 2, 2, 2], (q[0] * k[0]).sum())
    assert len(products[0, 0].flatten().round(decimals=9).unique()) == 30
    torch.testing.assert_close(rotated(q, 5, 6).norm(dim=1), q.norm(dim=1))


def live(**settings):
    torch.manual_seed(0)
    network = DiT(width=16, depth=2, heads=2, **settings).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def test_normed_queries_and_keys_have_no_scale():
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    changes = []
    for qk_norm in (False, True):
        network, t = live(qk_norm=qk_norm), torch.zeros(2).double()
        before = network(x, t)
        with torch.no_grad():
            for block in network.blocks:
                block.qkv.weight[:32] *= 100
                block.qkv.bias[:32] *= 100
        changes.append((network(x, t) - before).abs().max())
    assert changes[1] < 1e-3 * changes[0]


def test_without_positions_a_transformer_cannot_see_an_order():
    """Rotary embeddings are the only positions: with angles of zero, permuted patches give permuted outputs."""
    x, t = torch.randn(1, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double(), torch.zeros(1).double()
    network = live(patch=1, positions="rotary")
    assert not torch.allclose(network(x.flip(3), t).flip(3), network(x, t))
    single = torch.randn(1, 1, 1, 1, generator=torch.Generator().manual_seed(0)).double().expand(1, 1, 4, 4)
    assert not torch.allclose(live(patch=1)(single, t), live(patch=1)(single, t).mean())
    torch.testing.assert_close(network(single, t), network(single, t).mean().expand(1, 1, 4, 4))


def test_gated_units():
    torch.manual_seed(0)
    layer, x = SwiGLU(48, 0.0).double(), torch.randn(3, 5, 48).double()
    gate, value = (x @ layer.first.weight.T + layer.first.bias).chunk(2, dim=2)
    expected = (gate / (1 + torch.exp(-gate)) * value) @ layer.last.weight.T + layer.last.bias
    torch.testing.assert_close(layer(x), expected)
    counts = [sum(p.numel() for p in part.parameters()) for part in (layer, perceptron(48, 0.0))]
    assert counts[0] == pytest.approx(counts[1], rel=0.01)


def test_all_settings_together_in_forward_mode():
    network = live(positions="rotary", qk_norm=True, perceptron="swiglu")
    x, u = torch.randn(2, 2, 1, 7, 9, generator=torch.Generator().manual_seed(0)).double()
    t = torch.tensor([-1.0, 2.0]).double()
    out, tangent = jvp(lambda x: network(x, t), (x,), (u,))
    step = (network(x + 1e-6 * u, t) - network(x - 1e-6 * u, t)) / 2e-6
    assert out.shape == x.shape
    torch.testing.assert_close(tangent, step, rtol=1e-5, atol=1e-7)


def test_rotary_positions_need_a_width():
    with pytest.raises(ValueError, match=r"width must be a multiple of 4 heads = 16 with rotary positions, got 24"):
        DiT(width=24, heads=4, positions="rotary")
