"""The files beside a restoration: what results are called, where the truth is found, what is scored."""

from pathlib import Path

import pytest
import torch

from genmods.cli.image_batches import names, truth_of
from genmods.cli.scores import Scorer
from genmods.core.errors import UserError


def test_names_of_results_are_free_and_none_is_an_input(tmp_path):
    for name in ("a/1.png", "b/1.png", "c/1.png", "d/1.tif", "d/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = names([tmp_path / name for name in "abcd"], tmp_path / "out")
    assert sorted(map(str, found.values())) == ["1.jpg.png", "1.png", "1.png.png", "1.png.png.png", "1.tif"]
    (tmp_path / "d/1.png").touch()
    with pytest.raises(UserError, match="would overwrite the input"):
        names([tmp_path / "d/1.jpg", tmp_path / "d/1.png"], tmp_path / "d")
    (tmp_path / "d/strips").mkdir()
    (tmp_path / "d/strips/2.png").touch()
    with pytest.raises(UserError, match=r"might overwrite the input .*strips/2\.png"):
        names([tmp_path / "d/strips"], tmp_path / "d")


def test_an_earlier_output_folder_is_refused(tmp_path):
    for name in ("a.png", "strips/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"strips/a\.png is both an image and a strip"):
        names([tmp_path], tmp_path / "out")


def test_the_truth_is_the_file_of_the_same_stem(tmp_path):
    for name in ("1.5.png", "1.jpg", "img[1].png", "2.jpg", "2.png"):
        (tmp_path / name).touch()
    assert [truth_of(tmp_path, Path(name)).name for name in ("2.png", "2.jpg")] == ["2.png", "2.jpg"]
    assert truth_of(tmp_path, Path("1.png")).name == "1.jpg"
    assert truth_of(tmp_path, Path("img[1].png")).name == "img[1].png"


def test_lpips_is_left_out_where_its_network_has_no_pixels_left():
    scorer = Scorer(lpips=lambda x, y: torch.tensor(0.5))
    flat = [torch.zeros(1, side, side) for side in (30, 31)]
    assert ["lpips" in scorer.compared(image, image + 1, image) for image in flat] == [False, True]
