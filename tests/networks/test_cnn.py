import pytest
import torch

from genmods.networks.cnn import CNN, parse_layer


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("conv 32", ("conv", [32])),
        ("conv 32 5 2", ("conv", [32, 5, 2])),
        ("avgpool", ("avgpool", [])),
        ("dropout 0.3", ("dropout", [0.3])),
    ],
)
def test_parse(text, parsed):
    assert parse_layer(text) == parsed


@pytest.mark.parametrize(
    "text", ["", "conv", "konv 3", "conv x", "conv 1 2 3 4", "pool 0", "dropout 1", "linear -5", "avgpool 1.5"]
)
def test_refuses_invalid_layers(text):
    with pytest.raises(ValueError, match=r"layers: expected conv WIDTH") as error:
        CNN(layers=[text])
    assert repr(text) in str(error.value) and "\n" not in str(error.value)


def test_refuses_layers_out_of_place():
    with pytest.raises(ValueError, match="no pixels are left after"):
        CNN(layers=["pool 2", "pool 2", "pool 2", "pool 2"], image_size=8)
    with pytest.raises(ValueError, match="must precede the linear layers"):
        CNN(layers=["linear 8", "conv 8"])
    with pytest.raises(ValueError, match="norm must be 'batch', 'group' or 'none', got 'batsh'"):
        CNN(norm="batsh")


@pytest.mark.parametrize("image_size", [8, 28, 31])
@pytest.mark.parametrize(
    "layers",
    [
        None,
        [],
        ["conv 8 5 2", "conv 8 2", "avgpool 2", "linear 16", "linear 12", "dropout 0.5"],
        ["conv 8", "dropout 0.2", "avgpool"],
        ["conv 4 4 2", "pool 2"],
    ],
)
def test_shapes(layers, image_size):
    network = CNN(layers, in_channels=3, image_size=image_size, num_classes=7)
    x = torch.randn(2, 3, image_size, image_size)
    logits = network(x)
    assert logits.shape == (2, 7)
    logits.sum().backward()
    network.eval()
    torch.testing.assert_close(network.head(network.features(x)), network(x))


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "leaky_relu", "tanh"])
def test_settings(norm, activation):
    network = CNN(["conv 8", "pool 2", "linear 8"], norm, activation, image_size=8)
    assert network(torch.zeros(2, 1, 8, 8)).isfinite().all()


def test_layers_have_names_of_their_kind():
    names = [name for name, _ in CNN(["conv 4", "conv 4", "pool 2", "linear 8"]).layers.named_children()]
    assert names == ["conv1", "conv2", "pool1", "linear1"]


def test_learns_the_digits():
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    y = torch.tensor(digits.target)
    network = CNN(["conv 16", "pool 2", "conv 32", "avgpool"], image_size=8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for i in range(100):
        batch = torch.randperm(1400, generator=torch.Generator().manual_seed(i))[:128]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
        optimizer.step()
    network.eval()
    assert (network(x[1400:]).argmax(1) == y[1400:]).float().mean() > 0.9
