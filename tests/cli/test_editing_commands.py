"""`interpolate`, `vary`, `invert`, `likelihood`, and `classify` and `evaluate --against` with a diffusion model."""

import csv

import numpy as np
import pytest
import torch

from genmods.cli import dispatch
from genmods.data.files import Picture, read_image, write_image
from genmods.data.preparation import Preparation
from genmods.diffusion.conditioning import Unconditional
from genmods.models import Editor
from genmods.runs import folders
from support.gaussian_model import MEANS, draw, gaussian_model


@pytest.fixture
def model(monkeypatch):
    model = gaussian_model(size=4).float()
    model.preparation = Preparation((4, 4), 1, levels=256)
    monkeypatch.setattr(folders, "load", lambda path, raw=False: model)
    return model


@pytest.fixture
def inputs(tmp_path):
    paths = []
    for i, image in enumerate(draw(3, 4).float().clamp(-1, 1)):
        paths.append(tmp_path / "in" / f"{i}.png")
        write_image(paths[-1], Picture(image))
    return paths


def call(command, *words, out):
    return dispatch([command, "--ckpt_path", "run", *map(str, words), "--out", str(out), "--quiet"])


def test_interpolate_writes_frames_that_begin_and_end_with_the_images(model, inputs, tmp_path, capsys):
    assert call("interpolate", "--input", *inputs[:2], "--frames", 4, "--label", 1, out=tmp_path / "out") == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [*(f"00{k}.png" for k in range(4)), "strip.png"]
    for frame, path in (("000", inputs[0]), ("003", inputs[1])):
        found = read_image(tmp_path / "out" / f"{frame}.png").image
        torch.testing.assert_close(found, read_image(path).image, rtol=0, atol=2.5 / 255)
    assert "4 images in" in capsys.readouterr().out


def test_vary_writes_what_the_editor_draws(model, inputs, tmp_path):
    words = ["--input", tmp_path / "in", "--sigma", 51, "--samples", 2, "--seed", 3, "--label", 2]
    assert call("vary", *words, out=tmp_path / "out") == 0
    images = torch.stack([read_image(path).image for path in inputs])
    drawn = Editor(model).vary(images, 0.4, 2, {"label": "2"}, seed=3)
    found = read_image(tmp_path / "out" / "1_2.png").image
    torch.testing.assert_close(found, drawn[1, 1], rtol=0, atol=1.01 / 255)
    assert (tmp_path / "out" / "strips" / "2.png").is_file()


def test_invert_writes_latents_from_which_the_images_return(model, inputs, tmp_path, capsys):
    assert call("invert", "--input", *inputs, out=tmp_path / "out") == 0
    with np.load(tmp_path / "out" / "latents.npz") as content:
        latents, names, error = torch.from_numpy(content["latents"]), content["names"].tolist(), content["error"]
    assert names == list(map(str, inputs)) and (error < 1).all()
    back = Editor(model).generate(latents)
    torch.testing.assert_close(back, torch.stack([read_image(p).image for p in inputs]), rtol=0, atol=0.01)
    assert "root mean square error of the way back, 0 to 255" in capsys.readouterr().out


def test_likelihood_writes_bits_and_maps(model, inputs, tmp_path, capsys):
    assert call("likelihood", "--input", tmp_path / "in", "--times", 8, out=tmp_path / "out") == 0
    rows = list(csv.DictReader((tmp_path / "out" / "bits.csv").open()))
    images = torch.stack([read_image(path).image for path in inputs])
    wanted = model.likelihood().map(images, num_times=8).flatten(1).mean(1)
    assert [float(row["bits_per_dim"]) for row in rows] == pytest.approx(wanted.tolist(), abs=1e-3)
    assert {p.name for p in (tmp_path / "out" / "maps").iterdir()} == {"0.png", "1.png", "2.png"}
    assert f"{wanted.mean():.3f} bits per dimension, the mean of 3" in capsys.readouterr().out


def test_a_class_conditional_diffusion_model_classifies(model, tmp_path):
    for k, mean in enumerate(MEANS):
        write_image(tmp_path / "in" / f"{k}.png", Picture(torch.full((1, 4, 4), 2 * mean)))
    assert call("classify", "--input", tmp_path / "in", out=tmp_path / "classes.csv") == 0
    rows = list(csv.DictReader((tmp_path / "classes.csv").open()))
    assert [row["class"] for row in rows] == ["0", "1", "2"]
    assert all(sum(float(row[name]) for name in "012") == pytest.approx(1, abs=1e-5) for row in rows)


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("interpolate", ["--input", "{one}"], "--input must be two image files, got 1"),
        ("interpolate", ["--input", "{one}", "{one}", "--frames", "1"], "--frames must be at least 2, got 1"),
        ("interpolate", ["--input", "{one}", "gone.png"], "gone.png"),
        ("interpolate", ["--input", "{one}", "{one}", "--solver", "dim"], "--solver"),
        ("invert", ["--input", "{one}", "--steps", "0"], "--steps must be at least 1, got 0"),
        ("invert", ["--input", "{one}", "--label", "7"], "label=7: the classes are 0, 1, 2"),
        ("vary", ["--input", "{one}", "--sigma", "0"], "--sigma must be above 0, on the scale of 0 to 255, got 0"),
        ("vary", ["--input", "{one}", "--samples", "0"], "--samples must be at least 1, got 0"),
        ("vary", ["--input", "{one}", "--sampler", "huen"], "did you mean 'heun'?"),
        ("likelihood", ["--input", "{one}", "--times", "0"], "--times must be at least 1, got 0"),
        ("likelihood", ["--input", "{broken}"], "broken.png"),
    ],
)
def test_mistakes_are_one_line(model, inputs, tmp_path, capsys, command, words, message):
    (tmp_path / "broken.png").write_text("no picture")
    words = [word.format(one=inputs[0], broken=tmp_path / "broken.png") for word in words]
    assert call(command, *words, out=tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and error.strip().count("\n") == 0


@pytest.mark.parametrize("command", ["interpolate", "vary", "invert", "likelihood", "classify"])
def test_other_models_are_refused(monkeypatch, inputs, tmp_path, capsys, command):
    class Other(torch.nn.Module):
        image_shape, preparation = (1, 4, 4), None

    monkeypatch.setattr(folders, "load", lambda path, raw=False: Other())
    assert call(command, "--input", *inputs[:2], out=tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("--ckpt_path run: ") and error.count("\n") == 1


def test_a_diffusion_model_without_classes_classifies_nothing(monkeypatch, inputs, tmp_path, capsys):
    model = gaussian_model(size=4, conditioning=Unconditional())
    monkeypatch.setattr(folders, "load", lambda path, raw=False: model)
    assert call("classify", "--input", *inputs, out=tmp_path / "classes.csv") == 2
    assert "conditioned on classes" in capsys.readouterr().err
