"""The magnitude-preserving U-Net: magnitudes of activations, weights without a scale, forced normalisation, resume."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from genmods.core import checkpoint as files
from genmods.networks import UNetMP, freeze, magnitude
from genmods.networks.blocks import noise_features
from genmods.runs.fit import fit
from genmods.tasks import DiffusionTask
from support.small_runs import DIFFUSION, DIGITS, TRAINER, recipe


def drawn(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def rms(x, dim=None):
    return x.square().mean(dim).sqrt()


def network(**settings):
    torch.manual_seed(0)
    made = UNetMP(**{"width": 32, "multipliers": (1, 2), "blocks": 2, "attention": (0, -1), "heads": 2, **settings})
    torch.nn.init.ones_(made.gain)
    return made.eval()


def test_functions_preserve_magnitude():
    square = quad(lambda x: norm.pdf(x) * (x / (1 + math.exp(-x))) ** 2, -30, 30)[0]
    assert abs(magnitude.SILU_MAGNITUDE / math.sqrt(square) - 1) < 1e-3
    x, y = drawn(4, 100, 64, 64).split([70, 30], dim=1)
    assert abs(rms(magnitude.added(x[:, :30], y, 0.3)) - 1) < 0.01
    both = magnitude.joined(x, y)
    assert abs(rms(both) - 1) < 0.01
    torch.testing.assert_close(both[:, :70].square().sum(), both[:, 70:].square().sum(), rtol=0.01, atol=0)
    levels = torch.linspace(-13, 13, 50)
    torch.testing.assert_close(rms(math.sqrt(2) * noise_features(levels, 64), 1), torch.ones(50))
    torch.testing.assert_close(rms(magnitude.normalized(7 * x), 1), torch.ones(4, 64, 64))
    assert magnitude.normalized(torch.zeros(1, 4, 1, 1)).isfinite().all()


@pytest.mark.parametrize("settings", [{}, {"patch": 2}, {"multipliers": (1, 1, 3), "cond_channels": 2}])
def test_activations_have_magnitude_one(settings):
    """Of every block, and of the output once its gain is 1: about, since pixels and channels are not independent."""
    made, seen = network(num_classes=4, cond_size=3, out_channels=64, **settings), []
    for part in made.modules():
        if isinstance(part, magnitude.Block | magnitude.Embedding):
            part.register_forward_hook(lambda part, inputs, output: seen.append(float(rms(output))))
    cond = {"label": torch.arange(-1, 4), "vector": drawn(5, 3), "image": drawn(5, 2, 16, 16)}
    with torch.no_grad():
        out = made(drawn(5, 1, 16, 16), torch.linspace(-12, 12, 5), cond)
    assert len(seen) > 8 and min(seen) > 0.75 and max(seen) < 1.15
    assert 0.75 < rms(out) < 1.25


def test_the_scale_of_weights_has_no_effect_and_divides_gradients():
    made, x = network(attention=(-1,), num_classes=2).double(), drawn(2, 1, 8, 8, dtype=torch.float64)
    given = (x, torch.tensor([-1.0, 2.0]).double(), {"label": torch.tensor([0, 1])})
    for part in made.modules():
        if isinstance(part, magnitude.Gained):
            torch.nn.init.ones_(part.gain)

    def results():
        made.zero_grad()
        out = made(*given)
        out.square().sum().backward()
        return out.detach(), {key: p.grad.clone() for key, p in made.named_parameters() if p.ndim}

    out, gradients = results()
    scales = {}
    for part, name in ((part, name) for name, part in made.named_modules() if isinstance(part, magnitude.UnitRows)):
        rows = part.weight.shape[:1] + (1,) * (part.weight.ndim - 1)
        scales[f"{name}.weight"] = torch.rand(rows, dtype=torch.float64) * 9 + 0.5
        part.weight.data *= scales[f"{name}.weight"]
    assert scales.keys() == gradients.keys()
    scaled, others = results()
    torch.testing.assert_close(scaled, out, rtol=1e-9, atol=1e-9)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name] * scales[name], gradient, rtol=1e-7, atol=1e-8)
        radial = (others[name] * made.get_parameter(name)).flatten(1).sum(1)
        assert radial.abs().max() < 1e-7 * (1 + gradient.abs().max())


def test_queries_keys_and_values_have_no_scale():
    attention, x = magnitude.Attention(8, heads=2).double(), drawn(2, 8, 3, 5, dtype=torch.float64)

    def branch(x):
        return attention(x) * math.hypot(0.7, 0.3) - 0.7 * x

    torch.testing.assert_close(branch(100 * x), branch(x), rtol=1e-9, atol=1e-9)


def test_before_a_step_trained_weights_get_magnitude_one():
    made, given = network(), (drawn(2, 1, 8, 8), torch.zeros(2))
    freeze(made, ("stem",))
    for part in made.modules():
        if isinstance(part, magnitude.UnitRows):
            part.weight.data.mul_(3)
    before, stem = made(*given), made.stem.weight.clone()
    made.before_step()
    torch.testing.assert_close(made(*given), before, rtol=1e-4, atol=1e-5)
    assert torch.equal(made.stem.weight, stem)
    for part in made.modules():
        if isinstance(part, magnitude.UnitRows) and part is not made.stem:
            torch.testing.assert_close(rms(part.weight.flatten(1), 1), torch.ones(len(part.weight)))


def test_training_keeps_weights_normalised_and_resumes_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = {"name": "unet_mp", "width": 8, "multipliers": [1, 2], "blocks": 1}
    task, ends, seen, step = DIFFUSION | {"network": small}, [], [], DiffusionTask.training_step

    def watched(self, *given):
        weight = self.model.denoiser.network.levels.down[0].conv.weight
        seen.append((rms(weight.flatten(1), 1) - 1).abs().max().item())
        return step(self, *given)

    monkeypatch.setattr(DiffusionTask, "training_step", watched)
    for name, stops in (("whole", [4]), ("stopped", [2, 4])):
        run = None
        for steps in stops:
            settings = {"trainer": TRAINER | {"max_steps": steps}, "optimizer": {"name": "adamw", "lr": 1e-2}}
            run = fit(recipe(task, DIGITS, name=name, **settings), ckpt_path=run and str(run), quiet=True)
        ends.append(files.load(run / "checkpoints" / "last.ckpt")["state_dict"])
    assert files.digest(ends[0]) == files.digest(ends[1])
    assert len(seen) == 8 and max(seen) < 1e-5
    trained = ends[0]["model.denoiser.network.levels.down.0.conv.weight"]
    assert (rms(trained.flatten(1), 1) - 1).abs().max() > 1e-5  # the last update, before the next batch
