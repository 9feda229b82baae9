"""What every denoising network promises, for each registered one."""

import pytest
import torch
from torch import nn

from support.networks import DENOISERS, small

DENOISING = sorted(DENOISERS)
CONVOLUTIONAL = ["unet", "unet_mp", "plain_unet", "dit", "vdm"]  # any height and width
CONDITIONAL = [*CONVOLUTIONAL, "mlp"]  # conditioned by an image, a choice of output channels


def build(name, live=True, **settings):
    """A small network; `live` draws the layers that start at zero, which would hide the layers before them."""
    torch.manual_seed(0)
    if name == "diffusers":
        pytest.importorskip("diffusers")
    network = small(name, **{"in_channels": 1, **settings})
    for p in network.parameters():
        if live and not p.any():
            nn.init.normal_(p, std=0.1)
    return network.eval()


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", DENOISING)
def test_shape_and_dtype(name):
    out = build(name)(images(3, 1, 8, 8), torch.tensor([-9.0, 0.0, 9.0]), None)
    assert out.shape == (3, 1, 8, 8)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (7, 7), (9, 14), (1, 3), (33, 32), (64, 64)])
def test_any_size(name, size):
    kwargs = {"attention": False} if name == "vdm" else {}
    assert build(name, **kwargs)(images(1, 1, *size), torch.zeros(1)).shape == (1, 1, *size)


@pytest.mark.parametrize("name", [name for name in DENOISING if name != "diffusers"])
def test_starts_at_zero(name):
    assert not build(name, live=False)(images(2, 1, 8, 8), torch.zeros(2)).any()


@pytest.mark.parametrize("name", DENOISING)
def test_noise_level_matters(name):
    network, x = build(name), images(1, 1, 8, 8)
    levels = torch.tensor([-8.0, -1.0, -0.5, 0.0, 3.0, 8.0])
    out = network(x.expand(6, -1, -1, -1), levels)
    distances = torch.cdist(out.flatten(1), out.flatten(1)) + torch.eye(6)
    assert distances.min() > 1e-4


@pytest.mark.parametrize("name", DENOISING)
def test_labels_matter_and_minus_one_is_the_null_label(name):
    network, x, noise = build(name, num_classes=3), images(4, 1, 8, 8), torch.zeros(4)
    x = x[:1].expand(4, -1, -1, -1)
    out = network(x, noise, {"label": torch.tensor([-1, 0, 1, 2])})
    distances = torch.cdist(out.flatten(1), out.flatten(1)) + torch.eye(4)
    assert distances.min() > 1e-4
    torch.testing.assert_close(network(x, noise, None)[0], out[0])
    torch.testing.assert_close(network(x, noise, {})[0], out[0])


@pytest.mark.parametrize("name", DENOISING)
def test_without_classes_labels_change_nothing(name):
    network, x, noise = build(name), images(2, 1, 8, 8), torch.zeros(2)
    assert torch.equal(network(x, noise, {"label": torch.tensor([0, 1])}), network(x, noise))


@pytest.mark.parametrize("name", [name for name in DENOISING if name != "diffusers"])
@pytest.mark.parametrize("label", [-2, 3])
def test_a_label_out_of_range_is_named(name, label):
    with pytest.raises(ValueError, match=rf"labels must lie in \[-1, 2\] .*got {label}"):
        build(name, num_classes=3)(images(1, 1, 8, 8), torch.zeros(1), {"label": torch.tensor([label])})


@pytest.mark.parametrize("name", [name for name in DENOISING if name != "diffusers"])
def test_a_vector_of_numbers_matters_and_nan_is_an_unknown_one(name):
    network, x, noise = build(name, cond_size=2), images(4, 1, 8, 8), torch.zeros(4)
    known = torch.tensor([[0.5, -1.0]]).repeat(4, 1)
    partly, unknown = known.clone(), torch.full((4, 2), torch.nan)
    partly[:, 1] = torch.nan
    with torch.no_grad():
        outputs = [network(x, noise, {"vector": vector}) for vector in (known, partly, unknown)]
        torch.testing.assert_close(network(x, noise), outputs[2])
    assert all(output.isfinite().all() for output in outputs)
    assert not torch.allclose(outputs[0], outputs[1]) and not torch.allclose(outputs[1], outputs[2])
    with pytest.raises(ValueError, match=r"cond\['vector'\] must have the shape \(4, 2\) of cond_size, got \(4, 3\)"):
        network(x, noise, {"vector": torch.zeros(4, 3)})


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_end_of_a_step_and_the_scale_of_guidance(name):
    """Both matter; if missing, a step has no length and the scale is 1. Before training neither does anything."""
    new = build(name, live=False, two_times=True, guided=True)
    network, x, noise = build(name, two_times=True, guided=True), images(2, 1, 8, 8), torch.tensor([-1.0, 2.0])
    ends = {"end": torch.tensor([3.0, torch.inf]).double()}
    with torch.no_grad():
        plain, ended = network(x, noise), network(x, noise, ends)
        guided = network(x, noise, {"guidance": torch.full((2,), 2.0)})
        torch.testing.assert_close(network(x, noise, {"end": noise, "guidance": torch.ones(2)}), plain)
        for parameter in new.parameters():
            if not parameter.any() and parameter not in {*new.embedding.end.parameters()} | {
                *new.embedding.guidance.parameters()
            }:
                nn.init.normal_(parameter, std=0.1)
        assert torch.equal(new(x, noise), new(x, noise, ends))
    assert ended.isfinite().all() and not torch.allclose(plain, ended) and not torch.allclose(plain, guided)
    assert torch.equal(build(name)(x, noise), build(name)(x, noise, ends))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_image_condition(name):
    network, x, noise = build(name, cond_channels=2), images(2, 1, 8, 8), torch.zeros(2)
    one, other = (network(x, noise, {"image": image}) for image in (torch.zeros(2, 2, 8, 8), torch.ones(2, 2, 8, 8)))
    assert (one - other).abs().max() > 1e-4
    for cond in (None, {}, {"image": torch.zeros(2, 1, 8, 8)}):
        with pytest.raises(ValueError, match=r"must have (2 channels \(cond_channels\), got|shape \(2, 2, 8, 8\) )"):
            network(x, noise, cond)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_output_channels(name):
    assert build(name, out_channels=2)(images(2, 1, 8, 8), torch.zeros(2)).shape == (2, 2, 8, 8)


@pytest.mark.parametrize("name", DENOISING)
def test_samples_do_not_mix(name):
    network, x, noise = build(name), images(3, 1, 8, 8), torch.tensor([-2.0, 0.0, 2.0])
    torch.testing.assert_close(network(x, noise)[1:2], network(x[1:2], noise[1:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", DENOISING)
def test_memory_format_does_not_matter(name):
    network, x, noise = build(name), images(2, 1, 8, 8), torch.zeros(2)
    expected = network(x, noise)
    turned = network.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last), noise)
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "size"), [*((name, 8) for name in DENOISING), ("unet", 256), ("dit", 256), ("vdm", 256)]
)
def test_meta_device(name, size):
    with torch.device("meta"):
        network = build(name, live=False)
        out = network(torch.empty(2, 1, size, size), torch.empty(2))
    assert out.shape == (2, 1, size, size)


@pytest.mark.parametrize("name", DENOISING)
def test_state_dict_round_trip(name):
    one, other = build(name, num_classes=2), build(name, live=False, num_classes=2)
    other.load_state_dict(one.state_dict())
    x, noise = images(2, 1, 8, 8), torch.zeros(2)
    assert torch.equal(one(x, noise), other(x, noise))


@pytest.mark.parametrize("name", DENOISING)
def test_every_parameter_learns(name):
    network, x = build(name, num_classes=2), images(3, 1, 8, 8)
    network(x, torch.tensor([-1.0, 0.0, 1.0]), {"label": torch.tensor([-1, 0, 1])}).square().sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in silent if not n.endswith(("conv.bias", "to_k.bias"))] == []


@pytest.mark.parametrize("name", [name for name in DENOISING if name != "diffusers"])
def test_gradient_against_finite_differences(name):
    network, x, noise = build(name, num_classes=2).double(), images(2, 1, 4, 5).double(), torch.tensor([-1.0, 2.0])
    x = images(2, 1, 8, 8).double() if name == "mlp" else x
    noise, cond = noise.double(), {"label": torch.tensor([-1, 1])}
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(2)).double()

    def value():
        return (network(x, noise, cond) * weight).sum()

    value().backward()
    step = 1e-5
    for name_, parameter in network.named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)).double()
        with torch.no_grad():
            above = (parameter.add_(step * direction), value())[1]
            below = (parameter.sub_(2 * step * direction), value())[1]
            parameter.add_(step * direction)
        measured, claimed = (above - below) / (2 * step), (parameter.grad * direction).sum()
        torch.testing.assert_close(claimed, measured, atol=1e-6, rtol=1e-5, msg=lambda m, n=name_: f"{n}: {m}")


@pytest.mark.parametrize("name", ["unet", "vdm"])
def test_the_output_is_not_rounded_to_bfloat16(name):
    network = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(images(1, 1, 8, 8), torch.zeros(1))
    assert out.dtype == torch.float32
    assert not torch.equal(out, out.bfloat16().float())


@pytest.mark.parametrize("name", DENOISING)
def test_gradient_under_bfloat16_is_near(name):
    def gradient(reduced):
        network = build(name, num_classes=2)
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            out = network(images(16, 1, 8, 8), torch.linspace(-5, 5, 16), {"label": torch.arange(16) % 2})
        (out - images(16, 1, 8, 8)).square().mean().backward()
        return torch.cat([p.grad.flatten() for p in network.parameters()])

    exact, reduced = gradient(False), gradient(True)
    assert (reduced - exact).norm() < 0.05 * exact.norm()
