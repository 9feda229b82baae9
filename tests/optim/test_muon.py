import copy

import pytest
import torch
from torch import nn

from genmods.networks.blocks import FusedLinear
from genmods.optim import muon
from genmods.optim.groups import parameter_groups
from genmods.optim.muon import Muon, orthogonalize


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
    )


def train(net, optimizer, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(32, 1, 8, 8, generator=generator), torch.randint(4, (32,), generator=generator)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (3, 12, 20)])
def test_orthogonalize_keeps_the_singular_vectors_and_evens_the_values(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    middle = u.mT @ orthogonalize(matrix) @ vt.mT
    values = middle.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(middle, torch.diag_embed(values), atol=1e-9, rtol=0)
    assert values.min() > 0.6 and values.max() < 1.25


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("shape", [(128, 600), (300, 130)])
def test_large_matrices_are_orthogonalized_alike_with_and_without_bfloat16_units(shape, native, monkeypatch):
    monkeypatch.setattr(muon, "native_bfloat16", lambda device: native)
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalize(matrix)
    assert found.dtype == torch.float32
    middle = u.mT @ found @ vt.mT
    values = middle.diagonal()
    assert (middle - torch.diag(values)).norm() < (0.03 if native else 1e-3) * values.norm()
    assert values.min() > 0.6 and values.max() < 1.25


def test_orthogonalize_follows_its_polynomial():
    values = torch.tensor([0.9, 0.4, 0.1], dtype=torch.float64)
    expected = values / values.norm()
    for _ in range(3):
        expected = 3.4445 * expected - 4.7750 * expected**3 + 2.0315 * expected**5
    torch.testing.assert_close(orthogonalize(torch.diag(values), steps=3), torch.diag(expected))


def test_orthogonalize_is_scale_free_and_takes_zero():
    matrix = torch.randn(6, 9, dtype=torch.float64)
    torch.testing.assert_close(orthogonalize(1e4 * matrix), orthogonalize(matrix))
    assert torch.equal(orthogonalize(torch.zeros(4, 5)), torch.zeros(4, 5))


@pytest.mark.parametrize("shape", [(16, 4, 3, 3), (64, 16)])
def test_first_step_is_the_orthogonalised_gradient(shape):
    weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
    weight.grad = torch.randn(shape, dtype=torch.float64)
    Muon([weight], lr=0.1).step()
    expected = orthogonalize(weight.grad.flatten(1)) * max(1, shape[0] / weight[0].numel()) ** 0.5
    torch.testing.assert_close(weight.detach(), -0.1 * expected.view(shape))


def test_matches_torchs_own_muon_on_matrices():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(12, 20)), nn.Parameter(torch.randn(12, 20))]
    theirs = copy.deepcopy(ours)
    optimizers = [
        Muon(ours, lr=0.1, momentum=0.9, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    ]
    for _ in range(3):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(12, 20)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=0.02, rtol=0)  # torch orthogonalises in bfloat16


def test_everything_but_hidden_filters_is_exactly_adamw():
    net, reference = network(), network()
    groups = parameter_groups(net)
    optimizer = Muon(groups, lr=0.0, adam_lr=3e-3, weight_decay=0.05)
    adam = torch.optim.AdamW(parameter_groups(reference)[1:], lr=3e-3, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.05)
    assert train(net, optimizer, 5) == pytest.approx(train(reference, adam, 5), abs=1e-6)


def test_weight_decay_shrinks_weights_alone():
    net = network()
    optimizer = Muon(parameter_groups(net), weight_decay=0.5, lr=0.1, adam_lr=0.1)
    before = copy.deepcopy(net)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for (name, p), q in zip(net.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(p, (0.95 if p.ndim > 1 else 1.0) * q, msg=name)


def test_learns_and_resumes_bit_for_bit():
    net = network()
    optimizer = Muon(parameter_groups(net), weight_decay=0.01, lr=0.05, adam_lr=3e-3)
    losses = train(net, optimizer, 10)
    assert losses[-1] < 0.7 * losses[0]
    twin = copy.deepcopy(net)
    resumed = Muon(parameter_groups(twin), weight_decay=0.01, lr=0.05, adam_lr=3e-3)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(net, optimizer, 3) == train(twin, resumed, 3)


def test_takes_plain_parameters_and_frozen_ones():
    net = network()
    net[0].requires_grad_(False)
    before = copy.deepcopy(net)
    train(net, Muon(net.parameters()), 2)
    same = [torch.equal(p, q) for p, q in zip(net.parameters(), before.parameters(), strict=True)]
    assert same == [not p.requires_grad for p in net.parameters()]


def parts_after(split, steps=3):
    """Three layers after some steps: fused in one matrix, and separate ones with the same values and gradients."""
    torch.manual_seed(0)
    fused, head = FusedLinear(6, 8, 3).double(), nn.Linear(24, 2)
    apart = nn.ModuleList(nn.Linear(6, 8).double() for _ in range(3))
    for layer, rows in zip(apart, fused.weight.detach().chunk(3), strict=True):
        layer.weight.data.copy_(rows)
    one = Muon(parameter_groups(nn.Sequential(fused, head)), lr=0.1, weight_decay=0.1, split=split)
    other = Muon([layer.weight for layer in apart], lr=0.1, weight_decay=0.1)
    for _ in range(steps):
        fused.weight.grad = torch.randn(24, 6, dtype=torch.float64)
        for layer, rows in zip(apart, fused.weight.grad.chunk(3), strict=True):
            layer.weight.grad = rows.clone()
        one.step()
        other.step()
    return fused.weight.detach(), torch.cat([layer.weight.detach() for layer in apart])


def test_fused_layers_are_orthogonalised_separately_on_request():
    torch.testing.assert_close(*parts_after(split=True))
    assert not torch.allclose(*parts_after(split=False))


@pytest.mark.parametrize("settings", [{"lr": -1.0}, {"momentum": 1.0}, {"weight_decay": -0.1}])
def test_refuses_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="must"):
        Muon(network().parameters(), **settings)
