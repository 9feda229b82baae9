"""Every registered network under torch's transforms: export, compile in one graph, per-sample gradients, forward mode.

BatchNorm is in eval mode, since a batch of one has no statistics.
"""

import pytest
import torch
from torch.func import functional_call, grad, jvp, vmap

from genmods.config.builtins import BUILTINS
from support.networks import DENOISERS, SMALL, small

FOREIGN = {"diffusers", "timm", "torchvision"}
"""Networks that take seconds to trace; `tests/torture` exports and compiles all."""
NOT_FORWARD = {"diffusers": "Trying to use forward AD with _scaled_dot_product"}
"""Networks without a derivative in forward mode, and torch's error: diffusers calls the fused attention itself."""
each = pytest.mark.parametrize("name", SMALL)


def made(name):
    """A network in float64 and eval mode, none of whose layers is zero, and what it is called with."""
    if name in ("diffusers", "timm"):
        pytest.importorskip(name)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    classes = {"num_classes": 3} if name in DENOISERS else {}
    network = small(name, **classes).double().eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    shape = (3, 4) if name == "generator" else (3, 2, 8, 8)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    if name not in DENOISERS:
        return network, (x,)
    return network, (x, torch.tensor([-3.0, 0.0, 3.0]).double(), {"label": torch.tensor([-1, 0, 2])})


def test_every_network_is_here():
    assert set(SMALL) == set(BUILTINS["network"])


def close(found, want):
    torch.testing.assert_close(found, want, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", sorted(set(SMALL) - FOREIGN))
def test_export(name):
    network, inputs = made(name)
    with torch.no_grad():
        close(torch.export.export(network, inputs).module()(*inputs), network(*inputs))


@pytest.mark.parametrize("name", ["unet", "dit"])
def test_compile_in_one_graph(name):
    network, inputs = made(name)
    with torch.no_grad():
        close(torch.compile(network, backend="eager", fullgraph=True)(*inputs), network(*inputs))


@each
def test_gradients_per_sample(name):
    network, inputs = made(name)
    weights = {key: p.detach() for key, p in network.named_parameters() if p.requires_grad}

    def loss(weights, *one):
        x, *rest = [{k: v[None] for k, v in i.items()} if isinstance(i, dict) else i[None] for i in one]
        return functional_call(network, weights, (x, *rest)).square().sum()

    found = vmap(grad(loss), (None, *[0] * len(inputs)))(weights, *inputs)
    for i in range(3):
        network.zero_grad()
        network(
            *[{k: v[[i]] for k, v in a.items()} if isinstance(a, dict) else a[[i]] for a in inputs]
        ).square().sum().backward()
        for key, p in network.named_parameters():
            if p.requires_grad:
                close(found[key][i], torch.zeros_like(p) if p.grad is None else p.grad)


@each
def test_forward_mode(name):
    """v · J u by forward mode and u · Jᵀ v by reverse mode."""
    network, (x, *rest) = made(name)
    u = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    if name in NOT_FORWARD:
        with pytest.raises(NotImplementedError, match=NOT_FORWARD[name]):
            jvp(lambda x: network(x, *rest), (x,), (u,))
        return
    out, tangent = jvp(lambda x: network(x, *rest), (x,), (u,))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(network(x, *rest), x, torch.cos(out.detach()))
    close((tangent * torch.cos(out)).sum(), (gradient * u).sum())
