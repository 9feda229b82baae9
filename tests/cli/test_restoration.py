"""denoise, inpaint and restore on files, with a Gaussian in the place of a trained network."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.cli.image_batches import names
from genmods.cli.mask_option import parse_hole
from genmods.cli.restoration_io import part, sampling_method
from genmods.data.files import Picture, read_image, write_image
from genmods.diffusion import CosineProcess
from genmods.diffusion.conditioning import ClassLabels
from genmods.diffusion.latents import LatentSpace
from genmods.networks.base import Network
from genmods.restoration.corruption import Jpeg
from genmods.restoration.gaussian import Gaussian
from genmods.restoration.mixtures import UniformRange
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.operators import GaussianBlur
from genmods.runs import folders
from support.interrupting import interrupted_at_file


class Model:
    """What a trained diffusion task has, over smooth Gaussian images of `channels` x 8 x 8."""

    device, dtype = torch.device("cpu"), None

    def __init__(self, channels=1):
        place = torch.arange(8, dtype=torch.float64)
        near = torch.exp(-((place[:, None] - place) ** 2) / 8)
        cov = 0.2 * torch.kron(torch.eye(channels, dtype=torch.float64), torch.kron(near, near))
        self.gaussian = Gaussian(torch.zeros(channels, 8, 8, dtype=torch.float64), cov + 1e-3 * torch.eye(len(cov)))
        self.image_shape, self.process = (channels, 8, 8), CosineProcess()
        self.conditioning, self.latents = ClassLabels(num_classes=2, class_names=["coat", "shoe"]), LatentSpace()

    def diffusion_model(self):
        return self

    def denoise(self, cond):
        return self.gaussian.denoise(self.process)

    def to(self, device):
        return self

    requires_grad_ = to


@pytest.fixture(autouse=True)
def model(monkeypatch):
    chosen = Model()
    monkeypatch.setattr(folders, "load", lambda path: chosen)
    return chosen


def picture(channels, height, width, bits=8, alpha=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wave = torch.linspace(0, 3, width).cos() * torch.linspace(0, 2, height).cos()[:, None]
    white = 2**bits - 1
    image = (wave * 0.7 + 0.05 * torch.rand(channels, height, width, generator=generator)).clamp(-1, 1)
    image = ((image + 1) / 2 * white).round() / white * 2 - 1
    return Picture(image, torch.ones(1, height, width) if alpha else None, bits)


def call(command, source, out, *options):
    return dispatch([command, "--ckpt_path", "c", "--input", str(source), "--out", str(out), "--quiet", *options])


PILLOW = {"PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"], "TIFF": ["L", "LA", "RGB", "RGBA", "P", "I;16"]}
PILLOW |= {"WEBP": ["RGB", "RGBA"], "JPEG": ["L", "RGB"]}
DEEP = [("png", 1, True), ("png", 3, False), ("png", 3, True), ("tif", 3, False), ("tif", 3, True)]
KINDS = 22


def fill(folder, height, width, rng):
    """A folder of one image of every kind of file."""
    for suffix, modes in PILLOW.items():
        for mode in modes:
            deep, bands = mode == "I;16", len(Image.new(mode, (1, 1)).getbands())
            noise = rng.integers(
                0, 65536 if deep else 256, (height, width, bands), dtype=np.uint16 if deep else np.uint8
            )
            image = (
                Image.fromarray(noise.squeeze()) if mode in ("1", "P", "L", "I;16") else Image.fromarray(noise, mode)
            )
            image.convert(mode).save(folder / f"{mode.replace(';', '')}.{suffix.lower()}")
    for suffix, channels, alpha in DEEP:
        noise = torch.from_numpy(rng.random((channels + alpha, height, width), dtype=np.float32))
        write_image(
            folder / f"{channels}{alpha}.{suffix}",
            Picture(noise[:channels] * 2 - 1, noise[channels:] if alpha else None, 16),
        )


def masks(folder, height, width, rng):
    """A random mask in each of its three forms, and the pixels that it leaves."""
    x, y = int(rng.integers(0, width - 1)), int(rng.integers(0, height - 1))
    yield f"box:{x},{y},{rng.integers(1, width - x)},{rng.integers(1, height - y)}"
    yield f"random:{rng.uniform(0.2, 0.8):.3f}"
    Image.fromarray(rng.random((height, width)) < 0.5).save(folder / "mask.png")
    yield str(folder / "mask.png")


@pytest.mark.parametrize("trained", [1, 3])
def test_known_pixels_come_back_bit_by_bit(tmp_path, monkeypatch, trained):
    """1,056 cases of random masks, sizes, and kinds of files: mode, bits, size, transparency and known pixels stay."""
    chosen = Model(trained)
    monkeypatch.setattr(folders, "load", lambda path: chosen)
    rng = np.random.default_rng(trained)
    cases = filled = 0
    for size in [(8, 8), *rng.integers(3, 22, (7, 2)).tolist()]:
        place = tmp_path / f"{cases}"
        (place / "in").mkdir(parents=True)
        fill(place / "in", *size, rng)
        for k, mask in enumerate(masks(place, *size, rng)):
            out = place / f"out{k}"
            assert call("inpaint", place / "in", out, "--mask", mask, "--steps", "2", "--seed", str(k)) == 0
            paths = names([place / "in"], out)
            assert len(paths) == KINDS
            for index, (path, name) in enumerate(paths.items()):
                before, after = read_image(path), read_image(out / name)
                hole = parse_hole(mask, *size, k, index)
                assert (after.bits, after.image.shape) == (before.bits, before.image.shape), name
                assert torch.equal(after.image[:, ~hole], before.image[:, ~hole]), name
                filled += not torch.equal(after.image[:, hole], before.image[:, hole])
                assert (before.alpha is None and after.alpha is None) or torch.equal(before.alpha, after.alpha), name
                cases += 1
    assert cases >= 500 and filled > 0.99 * cases


def test_several_draws_keep_known_pixels_too(tmp_path):
    before = picture(3, 5, 13, 16, True)
    write_image(tmp_path / "a.png", before)
    options = ("--mask", "box:1,1,3,2", "--samples", "2", "--steps", "3")
    assert call("inpaint", tmp_path / "a.png", tmp_path / "out", *options) == 0
    known = torch.ones(5, 13, dtype=torch.bool)
    known[1:3, 1:4] = False
    drawn = [read_image(tmp_path / "out/samples" / f"a_{k}.png").image for k in (1, 2)]
    assert all(torch.equal(draw[:, known], before.image[:, known]) for draw in drawn)
    assert not torch.equal(drawn[0][:, ~known], drawn[1][:, ~known])
    assert (tmp_path / "out/strips/a.png").is_file() and (tmp_path / "out/uncertainty/a.png").is_file()


def test_a_grey_model_fills_grey_pictures_of_three_channels_with_grey(tmp_path):
    gray = picture(1, 9, 8).image
    write_image(tmp_path / "a.png", Picture(gray.expand(3, -1, -1), None, 8))
    assert call("inpaint", tmp_path / "a.png", tmp_path / "out", "--mask", "box:1,1,3,4", "--steps", "4") == 0
    filled = read_image(tmp_path / "out/a.png").image
    assert torch.equal(filled, filled[:1].expand(3, -1, -1)) and not torch.equal(filled[:1], gray)


def test_bad_files_are_listed_and_the_others_done(tmp_path, capsys):
    (tmp_path / "in/deep").mkdir(parents=True)
    write_image(tmp_path / "in/deep/good.png", picture(1, 8, 8))
    write_image(tmp_path / "in/photo.jpg", picture(3, 8, 12))
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    (tmp_path / "in/empty.png").write_bytes(b"")
    tifffile.imwrite(
        tmp_path / "in/five.tif", np.zeros((8, 8, 5), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    tifffile.imwrite(tmp_path / "in/nan.tif", np.full((8, 8), np.nan, np.float32))
    assert call("denoise", tmp_path / "in", tmp_path / "out", "--sigma", "20") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [re.search(r"(\w+)\.\w+:", line)[1] for line in lines[:-1]] == ["broken", "empty", "nan"]
    assert lines[-1] == "3 files were not restored"
    assert (tmp_path / "out/deep/good.png").is_file() and Image.open(tmp_path / "out/photo.png").size == (12, 8)


def test_a_mask_file_fills_the_images_of_its_size_and_names_the_others(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in/a.png", picture(1, 8, 8))
    write_image(tmp_path / "in/b.png", picture(1, 8, 9))
    Image.fromarray(np.eye(8) > 0).save(tmp_path / "mask.png")
    assert call("inpaint", tmp_path / "in", tmp_path / "out", "--mask", str(tmp_path / "mask.png")) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and "b.png" in lines[0] and "9 x 8 pixels, got 8 x 8" in lines[0]
    assert (tmp_path / "out/a.png").is_file() and not (tmp_path / "out/b.png").exists()


def test_a_table_against_the_truth(tmp_path, capsys):
    for folder in ("clean", "noisy"):
        (tmp_path / folder).mkdir()
    for k in range(3):
        clean = picture(1, 16, 16, seed=k)
        noise = 0.2 * torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(k))
        write_image(tmp_path / f"clean/{k}.png", clean)
        write_image(tmp_path / f"noisy/{k}.png", Picture(clean.image + noise))
    for options in ((), ("--sigma", "25.5", "--samples", "3"), ("--corruption", "poisson:peak=50", "--steps", "4")):
        out = tmp_path / f"out{len(options)}"
        more = ("--truth", str(tmp_path / "clean"), "--features", "pixels")
        assert call("denoise", tmp_path / "noisy", out, *more, *options) == 0
        table = capsys.readouterr().out.splitlines()
        assert table[-2].startswith("mean of 3") and float(table[-2].split()[3]) > 17
        assert re.fullmatch(r"FID \S+, n 3, pixels", table[-1])
        assert len((out / "figures.csv").read_text().splitlines()) == 4


def test_a_blurred_file_is_rounded_and_still_sharpened(tmp_path, model):
    """Grey levels are rounded: taken for exact, they are amplified until the result is worse than the input."""
    root = torch.linalg.cholesky(model.gaussian.cov)
    noise = torch.randn(8, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sharp = (noise @ root.T).view(8, 1, 8, 8).clamp(-1, 1).float()
    (tmp_path / "in").mkdir()
    for number, image in enumerate(GaussianBlur(1.2)(sharp)):
        write_image(tmp_path / f"in/{number}.png", Picture(image, None, 8))
    assert call("restore", tmp_path / "in", tmp_path / "out", "--operator", "gaussian_blur:sigma=1.2") == 0
    blurred, restored = (
        torch.stack([read_image(tmp_path / f"{folder}/{number}.png").image for number in range(8)])
        for folder in ("in", "out")
    )
    assert (restored - sharp).square().mean() < 0.2 * (blurred - sharp).square().mean()


def test_operators_change_the_size(tmp_path):
    write_image(tmp_path / "small.png", picture(3, 4, 6))
    settings = ("--operator", "gaussian_blur:sigma=0.6", "--operator", "average:factor=2", "--steps", "4")
    assert call("restore", tmp_path / "small.png", tmp_path / "out", *settings, "--method", "mmps:iterations=1") == 0
    assert np.array(Image.open(tmp_path / "out/small.png")).shape == (8, 12, 3)


def test_steps_reach_the_method_or_its_sampler():
    assert sampling_method("mmps", 7).steps == 7 and sampling_method("mmps:steps=9", 7).steps == 9
    assert sampling_method("pigdm:sampler=ddim", 7).sampler.steps == 7
    assert sampling_method("pigdm:sampler={name: ddim, steps: 9}", 7).sampler.steps == 9


def test_colourisation(tmp_path, monkeypatch):
    chosen = Model(3)
    monkeypatch.setattr(folders, "load", lambda path: chosen)
    write_image(tmp_path / "grey.png", picture(1, 8, 8))
    assert call("restore", tmp_path / "grey.png", tmp_path / "out", "--operator", "grayscale", "--steps", "4") == 0
    assert Image.open(tmp_path / "out/grey.png").mode == "RGB"


def test_a_network_that_was_trained_for_a_corruption_is_called_once(tmp_path, monkeypatch):
    class Lighter(Network):
        def forward(self, x, log_snr, cond=None):
            return torch.full_like(x, 20 / 255)

    corruption = UniformRange(Jpeg(10), Jpeg(40))
    trained = RestorationNetwork(Lighter(), corruption=corruption, in_channels=1, image_size=8)
    monkeypatch.setattr(folders, "load", lambda path: trained)
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    for name, options in {"told": ("--operator", "jpeg:quality=20"), "not": ()}.items():
        assert call("restore", tmp_path / "a.png", tmp_path / name, *options) == 0
        pixels = np.asarray(Image.open(tmp_path / name / "a.png")).astype(int)
        assert (pixels == (np.asarray(Image.open(tmp_path / "a.png")).astype(int) + 10).clip(0, 255)).all()


@pytest.mark.parametrize(
    ("command", "options", "line"),
    [
        ("denoise", ["--sigma", "-1"], "--sigma must be .*, got -1"),
        ("denoise", ["--sigma", "loud"], "--sigma must be .*, got loud"),
        ("denoise", ["--samples", "0"], "--samples must be at least 1, got 0"),
        ("denoise", ["--out", __file__], "--out: expected a folder, got the file .*test_restoration.py"),
        ("denoise", ["--corruption", "rain"], "no corruption is called 'rain'"),
        ("denoise", ["--corruption", "poisson:peak"], "KEY=VALUE"),
        ("denoise", ["--corruption", "poisson", "--sigma", "25"], "--sigma and --corruption are alternatives"),
        ("denoise", ["--flips"], "--ckpt_path c: flips require a restoration network that denoises"),
        ("denoise", ["--label", "hat"], "classes are coat, shoe"),
        ("denoise", ["--label", "2"], "classes are coat, shoe"),
        ("inpaint", ["--mask", "box:1,2"], r"^--mask: expected .*, got box:1,2"),
        ("inpaint", ["--mask", "hole.png"], r"^--mask hole.png: no such file"),
        ("inpaint", ["--mask", "box:0,0,8,8"], "covers the whole image"),
        ("inpaint", ["--mask", "random:0"], "the mask is empty"),
        ("inpaint", ["--mask", "box:0,0,2,2", "--method", "best"], "no method is called 'best'"),
        ("restore", ["--operator", "averag"], "did you mean 'average'"),
        (
            "restore",
            ["--operator", "jpeg:quality=10"],
            r"not trained for Jpeg\(quality=10\).* recipes/photos/jpeg.yaml",
        ),
        ("restore", [], "an operator is required: the model was not trained to restore images"),
        ("restore", ["--operator", "box:x=5,width=7"], "must fit into the image"),
        ("restore", ["--operator", "grayscale"], "3 channels|channels, but the model"),
    ],
)
def test_mistakes_are_one_line_each(tmp_path, capsys, command, options, line):
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    assert call(command, tmp_path / "a.png", tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert re.search(line, error) and "Traceback" not in error


def test_the_input_is_not_overwritten(tmp_path, capsys):
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    assert call("denoise", tmp_path / "a.png", tmp_path) == 2
    assert "would overwrite" in capsys.readouterr().err


def test_pictures_of_files_of_one_stem_are_kept_apart(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.tif"):
        write_image(tmp_path / "in" / name, picture(1, 8, 8))
    options = ("--mask", "box:1,1,3,2", "--samples", "2", "--steps", "2")
    assert call("inpaint", tmp_path / "in", tmp_path / "out", *options) == 0
    for folder in ("", "strips", "uncertainty"):
        assert {path.name for path in (tmp_path / "out" / folder).glob("a.*")} == {"a.png", "a.tif"}


def test_the_noise_level_of_an_image_is_its_own(tmp_path):
    """--sigma auto finds the same, and so restores the same, whatever else is in the batch."""
    (tmp_path / "in").mkdir()
    for k in range(3):
        clean = picture(1, 8, 8, seed=k)
        noise = 0.2 * k * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(k))
        write_image(tmp_path / f"in/{k}.png", Picture(clean.image + noise))
    options = ("--mask", "box:2,2,3,3", "--sigma", "auto", "--steps", "3")
    for size in ("1", "3"):
        assert call("inpaint", tmp_path / "in", tmp_path / size, *options, "--batch_size", size) == 0
    for k in range(3):
        alone, together = (read_image(tmp_path / size / f"{k}.png").image for size in ("1", "3"))
        torch.testing.assert_close(alone, together, atol=0.02, rtol=0)


def test_the_level_of_each_image_is_listed_and_images_that_do_not_change_are_reported(tmp_path, capsys):
    noisy = picture(1, 8, 8).image + 0.2 * torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(1))
    write_image(tmp_path / "in/flat.png", Picture(torch.full((1, 8, 8), 0.2)))
    write_image(tmp_path / "in/noisy.png", Picture(noisy))
    assert call("denoise", tmp_path / "in", tmp_path / "out") == 0
    out, error = capsys.readouterr()
    assert re.search(r"^flat.png +0\n?", out, re.M) and re.search(r"^noisy.png +\d\d", out, re.M)
    assert error.startswith("1 image hardly changed, flat.png first, in which a noise level of 0")
    assert (tmp_path / "out/figures.csv").read_text().startswith("file,sigma")
    assert call("denoise", tmp_path / "in", tmp_path / "told", "--sigma", "20") == 0
    assert "".join(capsys.readouterr()) == ""


def test_a_corruption_has_the_requested_number_of_draws(tmp_path):
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    for corruption in ("gaussian:sigma=40", "poisson:peak=20", "salt_and_pepper"):
        for samples in (1, 3):
            out = tmp_path / f"{corruption}{samples}"
            options = ("--corruption", corruption, "--samples", str(samples), "--steps", "3")
            assert call("denoise", tmp_path / "a.png", out, *options) == 0
            assert len(list(out.glob("samples/*"))) == (samples if samples > 1 else 0)


def test_settings_of_a_part_are_read_as_in_a_recipe():
    assert part("operator", "kernel_blur:weights=[1,2,1],columns=3").weights == [1, 2, 1]
    assert part("operator", "gaussian_blur:sigma=2,cutoff=1e-3").cutoff == 1e-3


def test_a_model_that_is_not_a_diffusion_model(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(folders, "load", lambda path: object())
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    assert call("denoise", tmp_path / "a.png", tmp_path / "out") == 2
    assert "requires a diffusion model" in capsys.readouterr().err


@pytest.mark.parametrize("k", [1, 4, 11, 17])
@pytest.mark.parametrize(
    "command",
    [
        ("denoise", "--samples", "2"),
        ("inpaint", "--mask", "random:0.4", "--steps", "2"),
        ("restore", "--operator", "gaussian_blur:sigma=1", "--sigma", "5", "--steps", "2"),
    ],
    ids=lambda command: command[0],
)
def test_an_interrupted_call_is_continued_by_the_same_call(tmp_path, capsys, command, k):
    for number in range(7):
        side = 9 if number in (1, 4, 5) else 8
        clean = picture(1, 8, side, seed=number)
        write_image(tmp_path / f"clean/{number}.png", clean)
        noise = 0.1 * torch.randn(1, 8, side, generator=torch.Generator().manual_seed(number))
        write_image(tmp_path / f"in/{number}.png", Picture(clean.image + noise))
    (tmp_path / "in/broken.png").write_bytes(b"no image")
    options = [*command[1:], "--truth", str(tmp_path / "clean"), "--batch_size", "2"]
    assert call(command[0], tmp_path / "in", tmp_path / "whole", *options) == 2
    table = capsys.readouterr().out
    with interrupted_at_file(k):
        assert call(command[0], tmp_path / "in", tmp_path / "out", *options) == 130
    assert re.fullmatch(
        r"\d of 8 images are in .*out; the same command continues\ninterrupted\n", capsys.readouterr().err
    )
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/[0-9].png")}
    assert call(command[0], tmp_path / "in", tmp_path / "out", *options) == 2
    assert capsys.readouterr().out == table
    files = [
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*.*")}
        for root in (tmp_path / "out", tmp_path / "whole")
    ]
    assert files[0] == files[1] and Path("figures.csv") in files[0]
    again = sum(path.stat().st_mtime_ns != time for path, time in kept.items())
    assert again <= 2, "at most the batch that was not complete is made again"


def test_results_of_other_input_are_not_continued(tmp_path):
    for number in range(3):
        write_image(tmp_path / f"in/{number}.png", picture(1, 8, 8, seed=number))
    with interrupted_at_file(5):
        call("denoise", tmp_path / "in", tmp_path / "out", "--batch_size", "1")
    for number in range(3):
        write_image(tmp_path / f"in/{number}.png", picture(1, 8, 8, seed=number + 10))
    assert call("denoise", tmp_path / "in", tmp_path / "out", "--batch_size", "1") == 0
    assert call("denoise", tmp_path / "in", tmp_path / "new", "--batch_size", "1") == 0
    for number in range(3):
        assert (tmp_path / f"out/{number}.png").read_bytes() == (tmp_path / f"new/{number}.png").read_bytes()
