"""The files beside a restoration: what results are called, where the truth is found, what is scored."""

from pathlib import Path

import pytest
import torch

from genmods.cli.image_batches import names, side_by_side, truth_of
from genmods.cli.scores import Scorer, table
from genmods.core.errors import UserError
from genmods.data.files import Picture, read_image, write_image


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


def test_an_earlier_output_folder_is_read_without_strips(tmp_path):
    for name in ("a.png", "strips/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names([tmp_path], tmp_path / "out") == {tmp_path / "a.png": Path("a.png")}
    (tmp_path / "strips/b.png").touch()  # not the strips of these images
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


def test_strips_of_photographs_are_reduced_by_averaging():
    dark, bright = -torch.ones(3, 3000, 2000), torch.ones(1, 3000, 2000)
    dark[:, ::3] = 0.5  # one row in three
    strip = side_by_side([dark, bright])
    assert strip.shape == (3, 1000, 2 * 667 + 2)
    torch.testing.assert_close(strip[:, :, :666], torch.full((3, 1000, 666), -0.5))
    assert (strip[:, :, 668:] == 1).all()
    assert side_by_side([torch.zeros(1, 300, 1400)]).shape == (1, 300, 1400)


@pytest.mark.parametrize(("bits", "suffix"), [(8, ".png"), (16, ".png"), (16, ".tif")])
def test_a_tall_photograph_is_written_exactly(tmp_path, bits, suffix):
    white = 2**bits - 1
    levels = torch.arange(4 * 300 * 7).view(4, 300, 7) * 31 % (white + 1)
    picture = Picture(levels[:3] / white * 2 - 1, levels[3:] / white, bits)
    write_image(tmp_path / f"a{suffix}", picture)
    found = read_image(tmp_path / f"a{suffix}")
    assert found.bits == bits
    assert torch.equal(((found.image.double() + 1) / 2 * white).round().long(), levels[:3])
    assert torch.equal((found.alpha.double() * white).round().long(), levels[3:])


def test_one_image_has_no_standard_error():
    lines = table({"a.png": {"psnr": 31.25}})
    assert lines[-1].split() == ["mean", "of", "1", "31.25"]
    assert table({"a.png": {"psnr": 30.0}, "b.png": {"psnr": 32.0}})[-1].split()[3:] == ["31", "±", "1"]
