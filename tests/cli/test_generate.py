"""`generate`: files, labels, samplers, and errors in one line."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.cli.sample_files import SampleFiles
from genmods.config.build import create
from genmods.config.builtins import BUILTINS
from genmods.data.images import to_uint8
from genmods.diffusion import DDIMSampler
from genmods.diffusion.conditioning import Unconditional
from genmods.diffusion.processes.rectified import RectifiedProcess
from genmods.diffusion.processes.variance_preserving import CosineProcess
from genmods.models import VAE, Classifier, DiffusionModel
from genmods.networks.autoencoder import Autoencoder
from genmods.networks.base import Network
from genmods.networks.cnn import CNN
from genmods.runs import folders

NAMES = ["coat", "shoe", "7"]


class Shade(Network):
    """Says that the image is as bright as its label: 0 is black, 2 is white."""

    num_classes, two_times = 3, True

    def __init__(self):
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor([0.0, -1.0, 0.0, 1.0]))

    def forward(self, x, log_snr, cond=None):
        label = (cond or {}).get("label", torch.full((len(x),), -1))
        return torch.zeros_like(x) + self.values[label + 1].view(-1, 1, 1, 1)


def shades(channels=1, process=None, prediction="x0", **settings):
    settings = {"num_classes": 3, "class_names": NAMES, **settings}
    shape = {"in_channels": channels, "image_size": 6}
    process = process or CosineProcess()
    parts = Shade(), process, create("prediction", prediction), DDIMSampler(steps=3)
    return DiffusionModel(*parts, **shape, **settings).eval()


@pytest.fixture
def served(monkeypatch):
    """Chooses the model that `--ckpt_path` loads, and records the request."""
    asked = []

    def serve(model):
        monkeypatch.setattr(folders, "load", lambda path, raw=False: asked.append((path, raw)) or model)
        return asked

    serve(shades())
    return serve


def generate(out, *options):
    return dispatch(["generate", "--ckpt_path", "run", "--out", str(out), "--quiet", *options])


def arrays(out):
    with np.load(out / "samples.npz", allow_pickle=False) as data:
        return dict(data)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_files(tmp_path, served, capsys, channels, mode):
    served(shades(channels))
    assert generate(tmp_path / "deep/out", "--n", "5") == 0
    out = tmp_path / "deep/out"
    assert "5 images" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"{i:05d}.png" for i in range(5)),
        "grid.png",
        "samples.npz",
    ]
    images = arrays(out)["images"]
    assert images.shape == (5, 6, 6, channels) and images.dtype == np.uint8
    for i, image in enumerate(images):
        read = Image.open(out / f"{i:05d}.png")
        assert read.mode == mode and np.array_equal(np.asarray(read).reshape(6, 6, channels), image)
    assert [int(image.mean()) for image in images] == [0, 128, 255, 0, 128]
    assert Image.open(out / "grid.png").size[0] >= 2 * 50, "six pixels are enlarged to be seen"


def test_images_of_a_larger_run_before_are_gone(tmp_path, served):
    for n in (5, 3):
        assert generate(tmp_path, "--n", str(n)) == 0
    assert sorted(path.stem for path in tmp_path.glob("0*.png")) == ["00000", "00001", "00002"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "12345.png").touch()
    assert generate(other, "--n", "1") == 0
    assert (other / "12345.png").is_file(), "no samples of ours were there"


@pytest.mark.parametrize(("label", "number"), [("coat", 0), ("shoe", 1), ("1", 1), ("2", 2), ("7", 2)])
def test_a_label_is_a_name_or_a_number(tmp_path, served, label, number):
    assert generate(tmp_path, "--n", "3", "--label", label) == 0
    found = arrays(tmp_path)
    assert found["label"].tolist() == [number] * 3
    assert [int(image.mean()) for image in found["images"]] == [(0, 128, 255)[number]] * 3


def test_a_list_of_values_is_dealt_out(tmp_path, served):
    assert generate(tmp_path, "--n", "4", "--condition", "label=[7, coat]") == 0
    assert arrays(tmp_path)["label"].tolist() == [2, 0, 2, 0]


@pytest.mark.parametrize("name", BUILTINS["sampler"])
def test_every_sampler(tmp_path, served, name):
    if name == "flow_ode":
        served(shades(process=RectifiedProcess()))
    assert generate(tmp_path, "--n", "3", "--sampler", name, "--steps", "4") == 0
    assert [int(image.mean()) for image in arrays(tmp_path)["images"]] == pytest.approx([0, 128, 255], abs=1)


def test_a_seed_gives_the_same_images_in_any_batches(tmp_path, served):
    served(shades(prediction="v"))
    assert generate(tmp_path / "a", "--n", "7", "--seed", "4", "--batch_size", "2", "--sampler", "ddpm") == 0
    assert generate(tmp_path / "b", "--n", "7", "--seed", "4", "--sampler", "ddpm") == 0
    assert generate(tmp_path / "c", "--n", "7", "--seed", "5", "--sampler", "ddpm") == 0
    first, second, third = (arrays(tmp_path / name)["images"] for name in "abc")
    assert np.abs(first.astype(int) - second).max() <= 1
    assert not np.array_equal(first, third)


def test_guidance_goes_beyond_the_condition(tmp_path, served):
    served(shades(process=RectifiedProcess(), prediction="flow"))
    options = ("--n", "1", "--label", "coat", "--seed", "1")
    for weight in ("1", "0", "2"):
        assert generate(tmp_path / weight, *options, "--guidance", weight) == 0
    means = [arrays(tmp_path / weight)["images"].mean() for weight in ("1", "0", "2")]
    assert len(set(means)) == 3


@pytest.fixture
def company(monkeypatch):
    """A model without labels, a worse one, one of another size, and classifiers of brightness and of another size."""
    torch.manual_seed(0)
    free = shades(process=RectifiedProcess(), prediction="flow", conditioning=Unconditional())
    bright = Classifier(CNN(layers=("avgpool",), num_classes=3), num_classes=3, image_size=6)
    tasks = {
        "run": free,
        "labelled": shades(process=RectifiedProcess(), prediction="flow"),
        "worse": shades(process=RectifiedProcess(), prediction="v"),
        "bright": bright.eval(),
        "large": Classifier(CNN(layers=("avgpool",)), image_size=8),
        "two": Classifier(CNN(layers=("avgpool",), num_classes=2), num_classes=2, image_size=6),
        "cosine": shades(prediction="v"),
        "latents": shades(codec=Autoencoder(image_size=6, width=4, multipliers=(1,), latent_channels=1)),
    }
    with torch.no_grad():
        (head,) = (layer for layer in bright.modules() if isinstance(layer, torch.nn.Linear))
        head.weight.copy_(torch.tensor([[-5.0], [0.0], [5.0]]))
        head.bias.zero_()
    monkeypatch.setattr(folders, "load", lambda path, raw=False: tasks[path])


def brightness(out, *options):
    assert generate(out, "--n", "4", "--seed", "3", *options) == 0
    return arrays(out)["images"].mean()


def test_a_classifier_guides_an_unconditional_model(tmp_path, company):
    guide = ("--classifier", "bright", "--guidance", "3")
    plain = brightness(tmp_path)
    assert brightness(tmp_path, *guide, "--label", "coat") < plain - 5
    assert brightness(tmp_path, *guide, "--label", "7") > plain + 5
    assert brightness(tmp_path, *guide, "--label", "7", "--interval", "1e5", "1e6") == plain


def test_a_worse_model_is_moved_away_from(tmp_path, company):
    options = ("--ckpt_path", "labelled", "--label", "coat")
    plain, guided = brightness(tmp_path, *options), brightness(tmp_path, *options, "--worse", "worse")
    assert guided != plain
    assert brightness(tmp_path, *options, "--worse", "worse", "--guidance", "1") == plain
    assert brightness(tmp_path, *options, "--worse", "worse", "--threshold", "0.5") != guided


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--classifier", "bright", "--worse", "worse"], "--classifier and --worse are mutually exclusive"),
        (["--classifier", "large"], "got an incompatible Classifier"),
        (["--classifier", "two"], "got an incompatible Classifier"),
        (["--classifier", "worse"], "got an incompatible DiffusionModel"),
        (["--worse", "bright"], "got an incompatible Classifier"),
        (["--worse", "worse"], "got an incompatible DiffusionModel"),
        (["--ckpt_path", "labelled", "--worse", "cosine"], "got an incompatible DiffusionModel"),
        (["--guidance", "3"], "--guidance: the model is unconditional"),
        (["--threshold", "0"], "--threshold must lie in (0, 1], got 0.0"),
        (
            ["--ckpt_path", "latents", "--threshold", "0.9"],
            "--threshold requires a diffusion model of pixels, got one of latents",
        ),
        (["--interval", "3", "1"], "--interval must satisfy 0 <= LO < HI, got 3.0 1.0"),
        (["--threshold", "2"], "--threshold must lie in (0, 1], got 2.0"),
        (["--label", "coat"], "condition 'label': the model is not conditioned on anything"),
    ],
)
def test_guides_that_do_not_fit(tmp_path, company, capsys, options, line):
    assert generate(tmp_path, *options) == 2
    error = capsys.readouterr().err.strip()
    assert line in error and "\n" not in error


def test_raw_weights_on_request(tmp_path, served):
    asked = served(shades())
    assert generate(tmp_path, "--n", "1") == generate(tmp_path, "--n", "1", "--raw") == 0
    assert asked == [("run", False), ("run", True)]


def test_an_autoencoder_generates_too(tmp_path, served):
    model = VAE(Autoencoder(image_size=6, width=4, multipliers=(1, 2)), image_size=6).eval()
    served(model)
    assert generate(tmp_path, "--n", "3", "--seed", "2") == 0
    expected = to_uint8(model.sample(3, seed=2)).permute(0, 2, 3, 1).numpy()
    found = arrays(tmp_path)
    assert np.array_equal(found["images"], expected) and "label" not in found


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--label", "hat"], "condition label=hat: the classes are coat, shoe, 7"),
        (["--label", "3"], "condition label=3: the classes are coat, shoe, 7"),
        (["--condition", "coat"], "--condition: expected NAME=VALUE"),
        (["--condition", "colour=red"], "condition 'colour': the model is conditioned on label"),
        (["--condition", "label=[]"], "at least 1"),
        (["--condition", "label=[0"], "condition label=[0: the classes are coat, shoe, 7"),
        (["--n", "0"], "--n and --batch_size must be at least 1, got 0 and"),
        (["--n", "many"], "--n"),
        (["--batch_size", "0"], "must be at least 1, got 64 and 0"),
        (["--steps", "0"], "--steps: steps must be at least 1, got 0"),
        (["--sampler", "dddim"], "no sampler is called 'dddim'; did you mean 'ddim'?"),
        (["--sampler", "dpmpp_3m", "--steps", "2"], "steps must be at least 3"),
        (["--sampler", "ddim", "--steps", "0"], "steps must be at least 1, got 0"),
        (["--out", __file__], "--out: "),
        (["--step", "3"], "did you mean '--steps'?"),
    ],
)
def test_mistakes_are_one_line(tmp_path, served, capsys, options, line):
    assert generate(tmp_path / "out", *options) == 2
    error = capsys.readouterr().err.strip()
    assert line in error and "\n" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option",
    [["--label", "1"], ["--condition", "label=1"], ["--guidance", "2"], ["--sampler", "ddim"], ["--steps", "4"]],
)
def test_settings_that_a_model_does_not_have(tmp_path, served, capsys, option):
    served(VAE(Autoencoder(image_size=6, width=4, multipliers=(1, 2)), image_size=6))
    assert generate(tmp_path, *option) == 2
    error = capsys.readouterr().err.strip()
    assert option[0] in error and "\n" not in error


def test_more_steps_than_levels(tmp_path, served, capsys):
    served(shades(process=CosineProcess(steps=10)))
    assert generate(tmp_path, "--steps", "11") == 2
    assert capsys.readouterr().err.strip() == "--steps: steps must be at most 10, the levels of the process, got 11"


def test_a_sampler_that_the_process_does_not_take(tmp_path, served, capsys):
    """A registered sampler that does not support a process is refused in one line."""
    served(shades(process=RectifiedProcess(), prediction="flow"))
    for name in BUILTINS["sampler"]:
        status = generate(tmp_path / name, "--n", "2", "--sampler", name, "--steps", "4")
        error = capsys.readouterr().err.strip()
        assert status == 0 or (status == 2 and error and "\n" not in error), name


def test_a_model_that_makes_no_images(tmp_path, served, capsys):
    served(Classifier(CNN(layers=("conv 4", "avgpool")), image_size=6))
    assert generate(tmp_path) == 2
    assert capsys.readouterr().err.strip() == "--ckpt_path run: expected a generative model, got Classifier"


def test_no_such_run(tmp_path, capsys):
    assert dispatch(["generate", "--ckpt_path", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.strip() == f"{tmp_path / 'none'}: no such checkpoint or run folder"


def contents(folder):
    """The bytes of each file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("batches", [1, 3])
def test_an_interrupted_call_is_continued_by_the_same_call(tmp_path, served, capsys, batches):
    served(shades(prediction="v"))
    options = ("--n", "11", "--batch_size", "3", "--condition", "label=[7, coat]", "--sampler", "ddpm")
    assert generate(tmp_path / "whole", *options) == 0
    model, calls = shades(prediction="v"), itertools.count()
    sample = model.sample

    def interrupted(*args, **settings):
        if next(calls) == batches:
            raise KeyboardInterrupt
        return sample(*args, **settings)

    model.sample = interrupted
    served(model)
    out = tmp_path / "parts"
    assert generate(out, *options) == 130
    assert f"{out} has {3 * batches} of 11 images; the same command continues" in capsys.readouterr().err
    assert len(list(out.glob("0*.png"))) == 3 * batches
    (out / ".unfinished/images").open("ab").write(b"half a row")
    assert generate(out, *options) == 0
    assert next(calls) - batches - 1 == 4 - batches, "no batch is made twice"
    assert contents(out) == contents(tmp_path / "whole")


def test_samples_of_another_request_are_not_continued(tmp_path, served):
    model = shades()
    served(model)
    sample, model.sample = model.sample, lambda *args, **settings: (_ for _ in ()).throw(KeyboardInterrupt)
    files = SampleFiles(tmp_path, 4, {"seed": 1})
    files.add(*[torch.zeros(2, 1, 6, 6)] * 2)
    assert SampleFiles(tmp_path, 4, {"seed": 1}).done == 2
    assert SampleFiles(tmp_path, 4, {"seed": 2}).done == 0 and not list(tmp_path.glob("0*.png"))
    model.sample = sample
    assert generate(tmp_path, "--n", "3") == 0 and len(arrays(tmp_path)["images"]) == 3


def test_the_grid_is_of_some_hundred_images(tmp_path, served, capsys):
    assert generate(tmp_path, "--n", "300") == 0
    assert "300 images in" in (told := capsys.readouterr().out) and "the first 256 on" in told
    assert len(arrays(tmp_path)["images"]) == len(list(tmp_path.glob("00*.png"))) == 300
    side = Image.open(tmp_path / "grid.png").size
    assert side[0] == side[1]
