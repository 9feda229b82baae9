"""denoise, inpaint and restore on files, with a Gaussian in the place of a trained network."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.cli.image_batches import names
from genmods.cli.mask_option import parse_hole
from genmods.cli.restoration_io import part, sampling_method
from genmods.data.files import Picture, read_image, write_image
from genmods.networks.base import Network
from genmods.restoration.corruption import GaussianNoise, Jpeg
from genmods.restoration.mixtures import UniformRange
from genmods.restoration.network import RestorationNetwork
from genmods.restoration.operators import Average, GaussianBlur
from genmods.runs import folders
from support.restoring import Model, call, picture


@pytest.fixture(autouse=True)
def model(monkeypatch):
    chosen = Model()
    monkeypatch.setattr(folders, "load", lambda path: chosen)
    return chosen


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


class Lighter(Network):
    def forward(self, x, log_snr, cond=None):
        return torch.full_like(x, 20 / 255)


def test_a_network_that_was_trained_for_a_corruption_is_called_once(tmp_path, monkeypatch):
    corruption = UniformRange(Jpeg(10), Jpeg(40))
    trained = RestorationNetwork(Lighter(), corruption=corruption, in_channels=1, image_size=8)
    monkeypatch.setattr(folders, "load", lambda path: trained)
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    for name, options in {"told": ("--operator", "jpeg:quality=20"), "not": ()}.items():
        assert call("restore", tmp_path / "a.png", tmp_path / name, *options) == 0
        pixels = np.asarray(Image.open(tmp_path / name / "a.png")).astype(int)
        assert (pixels == (np.asarray(Image.open(tmp_path / "a.png")).astype(int) + 10).clip(0, 255)).all()


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


@pytest.mark.parametrize(
    ("degradation", "line"),
    [
        ({"operator": Average(2), "corruption": GaussianNoise(1)}, "the network was trained for the operator Average"),
        ({"corruption": Jpeg(10)}, "the network was trained for Jpeg(quality=10) without noise; use restore"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--sigma", "25"), ("--corruption", "poisson")])
def test_denoise_refuses_networks_for_something_else(tmp_path, monkeypatch, capsys, degradation, line, options):
    """They would enlarge or sharpen the image."""
    trained = RestorationNetwork(Lighter(), **degradation, in_channels=1, image_size=8)
    monkeypatch.setattr(folders, "load", lambda path: trained)
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    assert call("denoise", tmp_path / "a.png", tmp_path / "out", *options) == 2
    assert capsys.readouterr().err.startswith(line) and not (tmp_path / "out/a.png").exists()


def test_noise_for_which_a_network_was_not_trained_is_reported(tmp_path, monkeypatch, capsys):
    corruption = UniformRange(GaussianNoise(0), GaussianNoise(55))
    trained = RestorationNetwork(Lighter(), corruption=corruption, level="known", in_channels=1, image_size=8)
    monkeypatch.setattr(folders, "load", lambda path: trained)
    write_image(tmp_path / "a.png", picture(1, 8, 8))
    for level, told in (("55", ""), ("56", "high=GaussianNoise(sigma=55)), not for GaussianNoise(sigma=56.0)\n")):
        assert call("denoise", tmp_path / "a.png", tmp_path / level, "--sigma", level) == 0
        assert capsys.readouterr().err.endswith(told) and bool(told) == (level == "56")


def test_a_degradation_that_no_method_inverts_is_refused_once(tmp_path, capsys):
    for name in "abc":
        write_image(tmp_path / f"in/{name}.png", picture(1, 8, 8))
    assert call("restore", tmp_path / "in", tmp_path / "out", "--operator", "jpeg:quality=10") == 2
    assert capsys.readouterr().err.count("the model was not trained for Jpeg(quality=10)") == 1


def test_an_enlarged_image_keeps_its_alpha(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "load", lambda path: Model(3))
    pixels = np.full((8, 8, 4), 128, np.uint8)
    pixels[:, 4:, 3] = 0
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    assert call("restore", tmp_path / "a.png", tmp_path / "out", "--operator", "average:factor=2", "--steps", "2") == 0
    alpha = np.asarray(Image.open(tmp_path / "out/a.png"))[..., 3]
    assert alpha.shape == (16, 16) and (alpha[:, :7] == 128).all() and (alpha[:, 9:] == 0).all()
