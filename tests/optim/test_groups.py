import torch
from torch import nn

from genmods.networks.dit import DiT
from genmods.optim.groups import parameter_groups


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4, 8))
        self.embedding = nn.Embedding(10, 8)
        self.conv = nn.Conv2d(1, 8, 3)
        self.batch = nn.BatchNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.layer = nn.LayerNorm(8)
        self.head = nn.Linear(8, 3)


def names(net, group):
    return {name for name, p in net.named_parameters() if any(p is q for q in group["params"])}


def test_who_decays():
    net = Net()
    hidden, output, rest = parameter_groups(net)
    assert names(net, hidden) == {"conv.weight", "attention.in_proj_weight", "attention.out_proj.weight"}
    assert names(net, output) == {"head.weight"}
    assert [g.get("weight_decay") for g in (hidden, output, rest)] == [None, None, 0.0]
    assert [g["matrix"] for g in (hidden, output, rest)] == [True, False, False]
    assert names(net, hidden) | names(net, output) | names(net, rest) == {n for n, _ in net.named_parameters()}


def test_fused_layers_are_counted():
    network = DiT(width=8, depth=1, heads=2)
    hidden = parameter_groups(network)[0]
    names = {parameter: name for name, parameter in network.named_parameters()}
    found = {
        names[p].removesuffix(".weight"): n for p, n in zip(hidden["params"], hidden["parts"], strict=True) if n > 1
    }
    assert found == {"blocks.0.modulation": 6, "blocks.0.qkv": 3, "modulation": 2}


def test_frozen_are_left_out_and_shared_listed_once():
    net = Net()
    net.conv.requires_grad_(False)
    net.head.weight = net.embedding.weight
    listed = [p for group in parameter_groups(net) for p in group["params"]]
    assert len({id(p) for p in listed}) == len(listed) == len([p for p in net.parameters() if p.requires_grad])
    rest = parameter_groups(net)[-1]
    assert any(p is net.embedding.weight for p in rest["params"]), "tied to an embedding: no decay"


def test_torch_optimizers_take_them():
    net = Net()
    for kind in (torch.optim.AdamW, torch.optim.SGD):
        optimizer = kind(parameter_groups(net), lr=0.1, weight_decay=0.2)
        assert [g["weight_decay"] for g in optimizer.param_groups] == [0.2, 0.2, 0.0]
        sum(p.sum() for p in net.parameters()).backward()
        optimizer.step()


def test_each_module_has_an_output_layer_and_a_frozen_one_is_none():
    first, second, codec = Net(), nn.Linear(4, 1), nn.Linear(8, 8).requires_grad_(False)
    whole = nn.ModuleList([first, codec, second])
    whole.scale = nn.Parameter(torch.ones(2, 2))
    _, output, rest = parameter_groups(*whole.children(), whole)
    assert names(whole, output) == {"0.head.weight", "2.weight"}
    assert "scale" in names(whole, rest)
    tail = nn.Sequential(first, codec)
    assert names(tail, parameter_groups(tail)[1]) == {"0.head.weight"}
