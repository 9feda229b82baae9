"""`look` at trained networks and `draw` of recipes, on small runs of real recipes."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.cli.look import photo
from genmods.config.shipped import shipped
from genmods.data.files import Picture, write_image
from genmods.data.preparation import Preparation

TASKS = {
    "classes": "{name: classification, network: {name: cnn, layers: [conv 4, pool 2, conv 6, linear 8]}}",
    "adapted": "{name: classification, network: {name: torchvision, architecture: alexnet, pretrained: false}}",
    "images": "{name: diffusion, network: {name: unet, width: 8, multipliers: [1, 2]}, process: cosine, prediction: v}",
    "tokens": "{name: diffusion, network: {name: dit, width: 16, depth: 1}, process: cosine, prediction: v}",
    "game": "{name: gan, network: {name: generator, width: 4}, discriminator: {name: discriminator, width: 4}}",
}
COMMON = "data: {name: digits, limit: 40, batch_size: 20}\ntrainer: {max_steps: 1, accelerator: cpu}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("look")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, task in TASKS.items():
            (root / f"{name}.yaml").write_text(f"task: {task}\n{COMMON}")
        for name in ("classes", "images", "game"):
            assert dispatch(["fit", "--config", f"{name}.yaml", "--quiet"]) == 0
        for folder in ("in/a", "in/b"):
            Path(folder).mkdir(parents=True)
            write_image(Path(folder) / "é 3.png", Picture(torch.rand(3, 11, 9) * 2 - 1, None, 8))
        yield root


def look(run, out, *options):
    return dispatch(["look", "--ckpt_path", f"runs/{run}", "--input", "in", "--out", str(out), *options])


def test_a_classifier_has_filters_maps_and_evidence(place, tmp_path, capsys):
    assert look("classes", tmp_path, "--layer", "conv2", "--label", "7") == 0
    views = ("maps", "layers.conv2", "gradcam")
    expected = ["filters.png", *(f"{name}_{view}.png" for name in ("é 3", "é 3~2") for view in views)]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in expected]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected)
    assert min(Image.open(path).size[0] for path in tmp_path.iterdir()) > 300


def test_a_folder_of_many_images_has_one_page(place, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for i in range(9):
        write_image(tmp_path / f"in/{i}.png", Picture(torch.rand(1, 30, 20) * 2 - 1))
    command = ["look", "--ckpt_path", "runs/classes", "--input", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert dispatch([*command, "--label", "7"]) == 0
    assert "9 images: feature maps of the first, Grad-CAM of the first 9" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0_maps.png", "filters.png", "gradcam.png"]


@pytest.mark.parametrize(
    ("fit", "part"), [("crop", (60, 0, 180, 120)), ("pad", (0, -60, 240, 180)), ("stretch", (0, 0, 240, 120))]
)
def test_grad_cam_is_shown_over_the_whole_photograph(tmp_path, fit, part):
    ramp = torch.linspace(-1, 1, 240).expand(1, 120, 240)
    write_image(tmp_path / "x.png", Picture(ramp))
    shown = photo(str(tmp_path / "x.png"), Preparation((8, 8), 1, fit, levels=256))
    assert shown.name == "x.png" and shown.part == part
    torch.testing.assert_close(shown.image, ramp, atol=1 / 255, rtol=0)
    write_image(tmp_path / "x.png", Picture(torch.zeros(1, 300, 1280)))
    assert photo(str(tmp_path / "x.png"), Preparation((8, 8), 1, fit, levels=256)).image.shape == (1, 150, 640)


def test_a_diffusion_model_has_maps_that_depend_on_the_noise(place, tmp_path, capsys):
    for sigma in ("10", "90"):
        assert look("images", tmp_path / sigma, "--sigma", sigma, "--layer", "levels.inner") == 0
    names = {path.name for path in (tmp_path / "10").iterdir()}
    assert {"filters.png", "é 3_maps.png", "é 3_levels.inner.png"} < names and "é 3_gradcam.png" not in names
    low, high = (Image.open(tmp_path / sigma / "é 3_levels.inner.png").tobytes() for sigma in ("10", "90"))
    assert low != high


@pytest.mark.parametrize(
    ("run", "options", "line"),
    [
        ("classes", ["--layer", "conv9"], "no layer is called 'conv9'"),
        ("classes", ["--label", "ten"], "--label ten"),
        ("images", ["--sigma", "0"], "--sigma must be above 0"),
        ("game", [], "feature maps are not available for GAN"),
    ],
)
def test_mistakes_are_one_line(place, tmp_path, capsys, run, options, line):
    assert look(run, tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1


def test_what_a_network_lacks_is_one_line_and_a_broken_file_does_not_stop_it(place, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    write_image(tmp_path / "in/fine.png", Picture(torch.zeros(1, 8, 8), None, 8))
    command = ["look", "--ckpt_path", "runs/classes", "--input", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert dispatch([*command, "--layer", "linear1"]) == 2
    printed = capsys.readouterr()
    assert "no fine_layers.linear1.png: the output of layer 'layers.linear1' is not a feature map" in printed.err
    assert "broken.png: is not an image" in printed.err and (tmp_path / "out/fine_maps.png").is_file()


def drawn(path):
    return [e.text for e in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_a_drawing_has_the_shapes_of_the_data(place, tmp_path, capsys):
    assert dispatch(["draw", "classes.yaml", "--out", str(tmp_path / "a/b.svg"), "--data.image_size=12"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a/b.svg'}\n"
    texts = drawn(tmp_path / "a/b.svg")
    assert texts[0].startswith("classes: cnn · ") and {"1 × 12 × 12", "4 × 12 × 12", "6 × 6 × 6"} <= set(texts)


def test_each_network_of_a_task_is_drawn(place, tmp_path):
    assert dispatch(["draw", "game.yaml", "--out", str(tmp_path / "g.svg")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g_discriminator.svg", "g_network.svg"]
    assert "vector" in drawn(tmp_path / "g_network.svg") and "image" in drawn(tmp_path / "g_discriminator.svg")


@pytest.mark.parametrize("name", TASKS)
def test_every_kind_of_network_is_drawn(place, tmp_path, name):
    assert dispatch(["draw", f"{name}.yaml", "--out", str(tmp_path / "x.svg"), "--data.image_size=64"]) == 0
    assert all(len(drawn(path)) > 10 for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in shipped() if "latent" not in name])
def test_shipped_recipes_are_drawn(tmp_path, capsys, name):
    status = dispatch(["draw", name, "--out", str(tmp_path / "x.svg")])
    assert status == 0 or capsys.readouterr().err.count("\n") == 1


def test_only_svg_is_drawn(place, capsys):
    assert dispatch(["draw", "classes.yaml", "--out", "x.png"]) == 2
    assert "--out must end in .svg, got" in capsys.readouterr().err
