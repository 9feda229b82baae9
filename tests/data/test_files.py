"""Files come back as they were: every mode and depth, losslessly."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageCms

from genmods.core.errors import UserError
from genmods.data.files import Picture, read_image, write_image
from genmods.data.walk import find_images


def picture(channels: int, bits: int, alpha: bool) -> Picture:
    generator = torch.Generator().manual_seed(channels + bits)
    white = 2**bits - 1

    def draw(c: int) -> torch.Tensor:
        return torch.randint(0, white + 1, (c, 7, 5), generator=generator).float() / white

    return Picture(draw(channels) * 2 - 1, draw(1) if alpha else None, bits)


CASES = [(c, 8, a, s) for c in (1, 3) for a in (False, True) for s in ("png", "tiff", "webp")]
CASES += [(c, 16, a, "png") for c in (1, 3) for a in (False, True)] + [(3, 8, False, "bmp")]
CASES += [(1, 16, False, "tiff"), (3, 16, False, "tiff"), (3, 16, True, "tiff")]


@pytest.mark.parametrize("channels, bits, alpha, suffix", CASES)
def test_lossless_in_the_same_mode(channels, bits, alpha, suffix, tmp_path):
    path = tmp_path / f"bild-ä.{suffix}"
    wanted = picture(channels, bits, alpha)
    write_image(path, wanted)
    got = read_image(path)
    if suffix == "webp" and channels == 1:  # WebP has no grey
        assert len(got.image) == 3
        got = Picture(got.image[:1], got.alpha, got.bits)
    torch.testing.assert_close(got.image, wanted.image, rtol=0, atol=1e-7)
    assert got.bits == bits and (got.alpha is None) == (not alpha)
    if alpha:
        torch.testing.assert_close(got.alpha, wanted.alpha, rtol=0, atol=1e-7)


@pytest.mark.parametrize("bits, suffix", [(8, "png"), (8, "tiff"), (8, "webp"), (8, "jpg"), (16, "png"), (16, "tiff")])
def test_the_colour_profile_is_kept(bits, suffix, tmp_path):
    wanted = picture(3, bits, alpha=False)
    wanted.icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    write_image(tmp_path / f"x.{suffix}", wanted)
    assert read_image(tmp_path / f"x.{suffix}").icc == wanted.icc


def test_sixteen_bits_are_all_there(tmp_path):
    values = torch.arange(65536).view(1, 256, 256)
    write_image(tmp_path / "x.png", Picture(values.float() / 65535 * 2 - 1, bits=16))
    back = read_image(tmp_path / "x.png").image
    assert torch.equal(((back.double() + 1) / 2 * 65535).round().long(), values)


def test_palette_cmyk_and_bilevel_are_read(tmp_path):
    red = Image.new("RGB", (4, 4), (255, 0, 0))
    red.quantize(4).save(tmp_path / "palette.png")
    red.convert("CMYK").save(tmp_path / "cmyk.jpg")
    red.convert("1").save(tmp_path / "bilevel.png")
    clear = red.quantize(4)
    clear.info["transparency"] = 0
    clear.save(tmp_path / "clear.png", transparency=0)
    shapes = {name: read_image(tmp_path / name) for name in ("palette.png", "cmyk.jpg", "bilevel.png", "clear.png")}
    assert [len(p.image) for p in shapes.values()] == [3, 3, 1, 3]
    assert shapes["clear.png"].alpha is not None
    torch.testing.assert_close(shapes["palette.png"].image[:, 0, 0], torch.tensor([1.0, -1.0, -1.0]))


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"does not support this 16-bit image; use \.png"):
        write_image(tmp_path / "x.jpg", picture(1, 16, False))
    with pytest.raises(UserError, match=r"does not support this 16-bit image; use \.png"):
        write_image(tmp_path / "x.tif", picture(1, 16, True))
    with pytest.raises(UserError, match=r"does not support transparency; use \.png"):
        write_image(tmp_path / "x.jpg", picture(3, 8, True))


def test_broken_files_are_named(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "pointer.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    for name, reason in (
        ("empty.png", "is empty"),
        ("text.jpg", "is not an image"),
        ("pointer.png", "is a pointer of Git LFS; `git lfs pull`"),
        ("none.png", "no such file"),
    ):
        with pytest.raises(UserError, match=f"{name}: {reason}"):
            read_image(tmp_path / name)


def test_images_are_found(tmp_path):
    for name in ("b.png", "a.jpg", ".hidden.png", "notes.txt", "deep/er/c.WEBP"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    names = [p.relative_to(tmp_path).as_posix() for p in find_images([tmp_path])]
    assert names == ["a.jpg", "b.png", "deep/er/c.WEBP"]
    with pytest.raises(UserError, match="no such file or folder"):
        find_images([tmp_path / "nothing"])
