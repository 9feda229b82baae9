import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from genmods.networks.blocks import Attention, Block, Embedding, attend, noise_features
from genmods.networks.unet import UNet


def flops(network, size):
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, size, size), torch.zeros(1))
    return counter.get_total_flops()


def test_attention_is_at_the_requested_levels():
    network = UNet(width=8, multipliers=(1, 2, 2), blocks=1, attention=(0, -1))
    where = {m.last.weight.shape[0] for m in network.modules() if isinstance(m, Attention)}
    assert where == {8, 16}
    assert sum(isinstance(m, Attention) for m in network.modules()) == 4
    assert not any(isinstance(m, Attention) for m in UNet(width=8, attention=()).modules())


def test_a_patch_stem_costs_a_quarter_of_the_work():
    plain, patched = (UNet(width=16, multipliers=(1, 2), blocks=1, attention=(), patch=p) for p in (1, 2))
    assert 0.2 < flops(patched, 32) / flops(plain, 32) < 0.3


def test_attention_in_steps_is_softmax_attention():
    qkv = torch.randn(2, 5, 3 * 8, generator=torch.Generator().manual_seed(0))
    q, k, v = (part.view(2, 5, 2, 4).transpose(1, 2) for part in qkv.chunk(3, dim=2))
    expected = ((q @ k.transpose(2, 3) / 2).softmax(-1) @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(qkv, heads=2), expected)


def test_film_is_a_scale_and_a_shift_per_sample_and_channel():
    block = Block(4, 4, embedding=2).double()
    scale, shift = torch.randn(2, 2, 4, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    nn.init.zeros_(block.film.weight)
    nn.init.dirac_(block.last.weight)
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for i in range(2):
        block.film.bias.data = torch.cat([scale[i].flatten(), shift[i].flatten()])
        h = block.conv(nn.functional.silu(block.norm(x[i : i + 1])))
        h = (h - h.mean()) / (h.var(correction=0) + 1e-5).sqrt() * (1 + scale[i]) + shift[i]
        torch.testing.assert_close(block(x[i : i + 1], torch.zeros(1, 2).double()), x[i : i + 1] + h.sigmoid() * h)


def test_noise_features_distinguish_all_levels():
    levels = torch.arange(-20, 20, 0.25)
    features = noise_features(levels, 32)
    distances = torch.cdist(features, features) + 9 * torch.eye(len(levels))
    assert distances.min() > 0.3


def test_autocast_leaves_the_noise_level_alone():
    embedding, levels = Embedding(16), torch.tensor([5.0, 5.001])
    with torch.autocast("cpu", torch.bfloat16):
        reduced = embedding(levels)
    assert torch.equal(reduced, embedding(levels))
    assert not torch.equal(reduced[0], reduced[1])


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    network = UNet(width=8, multipliers=(1,), blocks=1, dropout=0.5)
    for p in network.parameters():
        nn.init.normal_(p, std=0.1)
    x, noise = torch.randn(2, 1, 8, 8), torch.zeros(2)
    assert not torch.equal(network(x, noise), network(x, noise))
    network.eval()
    assert torch.equal(network(x, noise), network(x, noise))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 7}, "width must be a multiple of 2, got 7"),
        ({"multipliers": ()}, "multipliers must be of at least 1 item, got ()"),
        ({"multipliers": (1, 0)}, "multipliers[1] must be at least 1, got 0"),
        ({"blocks": 0}, "blocks must be at least 1, got 0"),
        ({"patch": 0}, "patch must be at least 1, got 0"),
        ({"attention": (3,)}, "attention[0] must be less than len(multipliers) = 3, got 3"),
        ({"heads": 3}, "heads is 3: it must divide the 64 channels"),
        ({"num_classes": -1}, "num_classes must be at least 0, got -1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError) as error:
        UNet(**settings)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
