"""denoise, inpaint and restore: unusable input and output, mistakes, and interrupted calls."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from genmods.data.files import Picture, write_image
from genmods.runs import folders
from support.interrupting import interrupted_at_file
from support.restoring import Model, call, picture


@pytest.fixture(autouse=True)
def model(monkeypatch):
    chosen = Model()
    monkeypatch.setattr(folders, "load", lambda path: chosen)
    return chosen


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


@pytest.mark.parametrize(
    ("command", "options", "line"),
    [
        ("denoise", ["--sigma", "-1"], "--sigma must be .*, got -1"),
        ("denoise", ["--sigma", "loud"], "--sigma must be .*, got loud"),
        ("denoise", ["--samples", "0"], "--samples must be at least 1, got 0"),
        ("denoise", ["--out", __file__], "--out: expected a folder, got the file .*test_restoration_files.py"),
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
    assert re.fullmatch(r".*out has \d of 8 images; the same command continues\ninterrupted\n", capsys.readouterr().err)
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
