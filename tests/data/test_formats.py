"""Files of every depth, layout and colour space come out as the picture that they hold, for training and commands."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from genmods.core.errors import UserError
from genmods.data.decoding import decode_files, prepared
from genmods.data.files import Picture, naming, open_image, read_image, write_image
from genmods.data.preparation import Preparation
from genmods.data.walk import find_images

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (6, 9, 3), dtype=np.uint8)
ALPHA = RANDOM.integers(0, 256, (6, 9, 1), dtype=np.uint8)
GREY = RGB[:, :, 0]
SHARE = ALPHA / 255


def wide(values: np.ndarray, bits: int) -> np.ndarray:
    return values if bits == 8 else values.astype(np.uint16) * 257


def decoded(path: Path, **wish) -> np.ndarray:
    """The pixels in [0, 1], [H, W, C]."""
    found = decode_files([path], Preparation(**wish))
    assert not found.broken, found.broken
    return found.pixels[0].numpy().transpose(1, 2, 0) / (found.preparation.levels - 1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["rgb", "unassalpha", "assocalpha", "unspecified", "cmyk", "five"])
def test_a_tiff_of_any_layout(tmp_path, bits, layout, kind):
    opaque, over_white = RGB / 255, RGB / 255 * SHARE + 1 - SHARE
    extra, photometric, tolerance = [kind], "rgb", 0.0
    if kind == "rgb":
        values, expected, extra = RGB, opaque, None
    elif kind == "unassalpha":
        values, expected, tolerance = np.concatenate([RGB, ALPHA], 2), over_white, 0.6 / 255
    elif kind == "assocalpha":  # colour that is multiplied by alpha, and rounded
        values, expected = np.concatenate([np.rint(RGB * SHARE).astype(np.uint8), ALPHA], 2), over_white
        tolerance = 1.5 / 255
    elif kind == "unspecified":
        values = np.concatenate([RGB, ALPHA], 2)
        expected = values / 255
    elif kind == "cmyk":
        values, extra, photometric = np.concatenate([255 - RGB, 0 * ALPHA], 2), None, "separated"
        expected = opaque
    else:
        values, extra, photometric = np.concatenate([RGB, ALPHA, ALPHA], 2), None, "minisblack"
        expected = values / 255
    stored = wide(values, bits)
    stored = stored.transpose(2, 0, 1) if layout == "separate" else stored
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stored, photometric=photometric, planarconfig=layout, extrasamples=extra)
    np.testing.assert_allclose(decoded(path), expected, atol=tolerance + 1e-6)
    if kind in ("rgb", "cmyk", "five"):
        seen = (read_image(path).image.permute(1, 2, 0).numpy() + 1) / 2
        np.testing.assert_allclose(seen, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "settings", "expected", "wish"),
    [
        (255 - GREY, {"photometric": "miniswhite"}, GREY / 255, {}),
        (65535 - wide(GREY, 16), {"photometric": "miniswhite"}, GREY / 255, {}),
        ((GREY / 255).astype(np.float32), {}, GREY / 255, {}),
        (GREY.astype(np.int16) - 100, {}, GREY / 255, {"range": (-100.0, 155.0)}),
        (GREY.astype(np.uint32) * 70_000, {}, GREY / 255, {"range": (0.0, 255 * 70_000.0)}),
        ((GREY.astype(np.int16) - 128).astype(np.int8), {}, GREY / 255, {"range": (-128.0, 127.0)}),
        (RGB, {"photometric": "rgb", "bigtiff": True}, RGB / 255, {}),
    ],
)
def test_a_tiff_of_any_depth(tmp_path, values, settings, expected, wish):
    tifffile.imwrite(tmp_path / "x.tif", values, **settings)
    expected = expected.reshape(6, 9, -1)
    np.testing.assert_allclose(decoded(tmp_path / "x.tif", **wish), expected, atol=1.1 / 65535)
    seen = (
        read_image(tmp_path / "x.tif", wish.get("range", (0.0, 1.0) if values.dtype.kind == "f" else None)).image + 1
    ) / 2
    np.testing.assert_allclose(seen.permute(1, 2, 0).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [1, 257])
def test_a_colour_map_has_entries_of_eight_or_sixteen_bits(tmp_path, factor):
    colors = RANDOM.integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", GREY, photometric="palette", colormap=colors * factor)
    np.testing.assert_allclose(decoded(tmp_path / "x.tif"), colors.T[GREY] / 255, atol=1e-6)


def gray_png(path: Path, values: np.ndarray, depth: int, key: int) -> None:
    """A grey PNG of 1, 2, 4, 8 or 16 bits whose value `key` is transparent."""
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=2)[:, :, 16 - depth :]
    rows = np.packbits(bits.reshape(len(values), -1), axis=1)
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), depth, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = [(b"IHDR", header), (b"tRNS", struct.pack(">H", key)), (b"IDAT", data), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("background", ["white", "black"])
@pytest.mark.parametrize("at", ["least", "most"])
def test_a_transparent_grey_value(tmp_path, depth, background, at):
    values = RANDOM.integers(0, 2**depth, (6, 9))
    key = int(values.min() if at == "least" else values.max())
    gray_png(tmp_path / "x.png", values, depth, key)
    expected = np.where(values == key, 1.0 if background == "white" else 0.0, values / (2**depth - 1))
    np.testing.assert_allclose(decoded(tmp_path / "x.png", background=background)[:, :, 0], expected, atol=1e-6)
    alpha = read_image(tmp_path / "x.png").alpha
    assert alpha is not None and np.array_equal(alpha[0].numpy() == 0, values == key)


def test_pages(tmp_path):
    stack = np.stack([GREY, 255 - GREY, GREY // 2, GREY // 3])
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack", metadata=None)
    first = decode_files([tmp_path / "pages.tif"], Preparation())
    assert np.array_equal(first.pixels[0, 0].numpy(), GREY) and first.notes == [
        "1 file with several pages: the first is read"
    ]
    assert np.array_equal(decode_files([tmp_path / "pages.tif"], Preparation(channels=4)).pixels[0].numpy(), stack)
    five = np.concatenate([RGB, ALPHA, ALPHA], 2)
    tifffile.imwrite(tmp_path / "array.tif", five)  # written as six pages of 9 x 5
    np.testing.assert_array_equal(decoded(tmp_path / "array.tif"), five / 255)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
def test_arrays(tmp_path, suffix, first, dtype):
    values = np.concatenate([RGB, ALPHA, ALPHA], 2)
    top = {np.uint8: 255, np.uint16: 65535, np.float32: 1, bool: 1}[dtype]
    stored = (values > 127) if dtype is bool else (values / 255 * top).astype(dtype)
    laid = stored.transpose(2, 0, 1) if first else stored
    np.save(tmp_path / "x.npy", laid) if suffix == "npy" else np.savez(tmp_path / "x.npz", picture=laid)
    np.testing.assert_allclose(decoded(tmp_path / f"x.{suffix}"), stored / top, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"a": GREY, "b": GREY}, "must contain one array, got 2"),
        ({"a": GREY.astype(complex)}, "must contain real numbers"),
        ({"a": np.full((4, 4), np.nan)}, "not finite"),
        ({"a": np.zeros((2, 3, 4, 5))}, "an image array must have shape"),
        ({"a": np.array([[{}]])}, "x.npz"),
    ],
)
def test_arrays_that_are_not_images_are_refused_by_name(tmp_path, content, line):
    np.savez(tmp_path / "x.npz", **content)
    (told,) = decode_files([tmp_path / "x.npz"], Preparation(size=(4, 4))).broken
    assert told.startswith(str(tmp_path / "x.npz")) and line in told and "\n" not in told


def test_twelve_bits_in_sixteen_are_detected_and_reported(tmp_path):
    values = [RANDOM.integers(0, 4096, (8, 8)).astype(np.uint16) for _ in range(3)]
    values[0][0, 0] = 4095
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, pixels in zip(paths, values, strict=True):
        Image.fromarray(pixels).save(path)
    found = decode_files(paths, Preparation())
    assert found.preparation.range == (0, 4095) and found.preparation.levels == 4096
    assert np.array_equal(found.pixels[:, 0].numpy(), np.stack(values)) and "4,095 is white" in found.notes[0]
    again = decode_files(paths[1:], found.preparation)  # what a command does with other files
    assert np.array_equal(again.pixels.numpy(), found.pixels[1:].numpy()) and not again.notes
    given = decode_files(paths, Preparation(range=(0.0, 8190.0)))
    np.testing.assert_allclose(given.pixels[:, 0].numpy() / 8190, np.stack(values) / 8190)
    picture = read_image(paths[0], (0.0, 4095.0))
    assert float(picture.image.max()) == 1
    write_image(tmp_path / "back.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back.png")), values[0])


def test_sixteen_bits_are_kept_and_eight_bits_beside_them_keep_their_white(tmp_path):
    Image.fromarray(wide(GREY, 16) - (GREY > 0)).save(tmp_path / "deep.png")
    Image.fromarray(GREY).save(tmp_path / "flat.png")
    found = decode_files([tmp_path / "deep.png", tmp_path / "flat.png"], Preparation())
    assert found.pixels.dtype == torch.uint16 and not found.notes
    assert np.array_equal(found.pixels[0, 0].numpy(), wide(GREY, 16) - (GREY > 0))
    assert np.array_equal(found.pixels[1, 0].numpy(), wide(GREY, 16))


def test_a_dark_set_of_eight_bits_is_reported_and_its_range_can_be_set(tmp_path):
    Image.fromarray((GREY > 127).astype(np.uint8)).save(tmp_path / "x.png")
    (line,) = decode_files([tmp_path / "x.png"], Preparation()).notes
    assert "up to 1 of 255" in line
    np.testing.assert_array_equal(decoded(tmp_path / "x.png", range=(0.0, 1.0))[:, :, 0], GREY > 127)


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("bits", [8, 16])
def test_any_number_of_channels_is_written(tmp_path, channels, bits):
    image = torch.randint(0, 2**bits, (channels, 6, 9)).float() / (2**bits - 1) * 2 - 1
    write_image(tmp_path / "x.tif", Picture(image, bits=bits))
    torch.testing.assert_close(read_image(tmp_path / "x.tif").image, image, atol=1e-6, rtol=0)


def test_opacity_as_a_separate_channel(tmp_path):
    Image.fromarray(np.concatenate([RGB, ALPHA], 2)).save(tmp_path / "x.png")
    np.testing.assert_allclose(
        decoded(tmp_path / "x.png", channels=4) * 255, np.concatenate([RGB, ALPHA], 2), atol=1e-4
    )


@pytest.mark.parametrize("size", [(4, 6), (6, 4), (5, 5)])
def test_fits(tmp_path, size):
    wide_ramp = np.tile(np.linspace(0, 255, 240).astype(np.uint8), (120, 1))
    Image.fromarray(wide_ramp).save(tmp_path / "x.png")
    height, width = size
    crop, pad, stretch = (
        decode_files([tmp_path / "x.png"], Preparation(size=size, fit=fit, background="black")).pixels[0, 0].double()
        for fit in ("crop", "pad", "stretch")
    )
    centers = (torch.arange(width).double() + 0.5) / width
    torch.testing.assert_close(stretch, (centers * 255).expand(size), atol=8, rtol=0)
    shown = min(1.0, 120 * width / height / 240)  # the share of the ramp that is in the crop
    torch.testing.assert_close(crop, ((0.5 + (centers - 0.5) * shown) * 255).expand(size), atol=12, rtol=0)
    rows = round(width / 2)  # the picture is twice as wide as high
    border = (height - rows) // 2
    assert pad[:border].eq(0).all() and pad[border + rows :].eq(0).all()
    torch.testing.assert_close(pad[border : border + rows], (centers * 255).expand(rows, width), atol=8, rtol=0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif", ".gif"])
def test_a_cut_file_is_refused_unless_all_pixels_are_there(suffix, tmp_path):
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(whole)
    content = whole.read_bytes()
    complete = open_image(whole).read().values
    accepted = []
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        try:
            with naming(path):
                found = open_image(path).read().values
        except UserError:
            continue
        accepted.append((len(content) - length, np.array_equal(found, complete)))
    assert all(equal for _, equal in accepted) and max(missing for missing, _ in [(0, True), *accepted]) <= 4


def test_the_folder_of_generate_has_its_single_images_only(tmp_path):
    for name in ("00000.png", "00001.png", "grid.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert len(find_images([tmp_path])) == 3
    np.savez(tmp_path / "samples.npz", samples=np.zeros((2, 8, 8, 1)))
    assert [path.name for path in find_images([tmp_path])] == ["00000.png", "00001.png"]
    (tmp_path / "00000.png").rename(tmp_path / "own.png")
    assert len(find_images([tmp_path])) == 4


@pytest.mark.parametrize("top", [1023, 65535])
@pytest.mark.parametrize("magic", ["P3", "P6"])
def test_a_ppm_of_more_than_eight_bits(tmp_path, top, magic):
    values = RGB.astype(np.uint16) * 4 if top == 1023 else wide(RGB, 16) - (RGB > 0).astype(np.uint16)
    body = values.astype(">u2").tobytes() if magic == "P6" else " ".join(map(str, values.flatten().tolist())).encode()
    (tmp_path / "x.ppm").write_bytes(f"{magic}\n# a comment\n9 6 # size\n{top}\n".encode() + body)
    np.testing.assert_allclose(decoded(tmp_path / "x.ppm"), values / top, atol=1e-5)
    assert read_image(tmp_path / "x.ppm").bits == 16
    (tmp_path / "x.ppm").write_bytes((tmp_path / "x.ppm").read_bytes()[: -len(body) // 2])
    assert decode_files([tmp_path / "x.ppm"], Preparation()).broken == [f"{tmp_path / 'x.ppm'}: is truncated"]


@pytest.mark.parametrize("deep", [True, False])
def test_values_without_a_white_and_files_with_one(tmp_path, deep):
    """One range does not fit both: that of floats would make deep integers white."""
    np.save(tmp_path / "a.npy", (GREY / 255).astype(np.float32))
    Image.fromarray(wide(GREY, 16) if deep else GREY).save(tmp_path / "b.png")
    paths = [tmp_path / "a.npy", tmp_path / "b.png"]
    if deep:
        with pytest.raises(UserError, match=r"a.npy: has values without a defined white, unlike b.png; set data.range"):
            decode_files(paths, Preparation())
    else:
        found = decode_files(paths, Preparation())
        np.testing.assert_allclose(*found.pixels.int().numpy(), atol=1)
        assert found.notes[0].startswith(f"values from {GREY.min() / 255:g} to {GREY.max() / 255:g} without a defined")


@pytest.mark.parametrize("channels", [4, 6])
def test_the_requested_channels_tell_the_axes_of_an_array(tmp_path, channels):
    values = RANDOM.integers(0, 256, (4, 9, 6), dtype=np.uint8)
    np.save(tmp_path / "x.npy", values)
    expected = values.transpose(1, 2, 0) if channels == 4 else values
    np.testing.assert_array_equal(decoded(tmp_path / "x.npy", channels=channels), expected / 255)


def test_the_content_of_a_file_counts_not_its_suffix(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.jfif", "JPEG", quality=100)
    Image.fromarray(RGB).save(tmp_path / "b.jpe", "PNG")
    Image.fromarray(RGB).save(tmp_path / "c.tga")
    tifffile.imwrite(tmp_path / "d.png", wide(RGB, 16), photometric="rgb")
    assert [path.name for path in find_images([tmp_path])] == ["a.jfif", "b.jpe", "c.tga", "d.png"]
    for path in find_images([tmp_path])[1:]:
        np.testing.assert_allclose(decoded(path), RGB / 255, atol=1e-6)


def test_heic_with_another_suffix_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("genmods.data.files.find_spec", lambda name: None)
    (tmp_path / "x.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (line,) = decode_files([tmp_path / "x.jpg"], Preparation()).broken
    assert line == f"{tmp_path / 'x.jpg'}: is a HEIC file, which requires pillow-heif: pip install 'genmods[heic]'"


def test_arrays_and_tensors_are_prepared_like_files(tmp_path):
    bands = RANDOM.integers(0, 4096, (6, 9, 4), dtype=np.uint16)
    np.save(tmp_path / "x.npy", bands)
    deep = replace(decode_files([tmp_path / "x.npy"], Preparation()).preparation, size=(6, 9))
    assert deep.range == (0, 4095) and torch.equal(prepared(bands, deep), prepared(tmp_path / "x.npy", deep))
    flat = Preparation((6, 9), 3, levels=256, background="black")
    Image.fromarray(np.concatenate([RGB, ALPHA], 2)).save(tmp_path / "x.png")
    assert torch.equal(prepared(np.concatenate([RGB, ALPHA], 2), flat), prepared(tmp_path / "x.png", flat))
    assert torch.equal(prepared(torch.from_numpy(RGB).permute(2, 0, 1), flat), prepared(RGB, flat))
    for image, got in [
        (RGB / 255, "got float64 [6, 9, 3]"),
        (torch.zeros(3, 6, 9), "got float32 [3, 6, 9]"),
        (RGB.transpose(2, 0, 1), "an image must have 3 channels, got shape [3, 6, 9]"),
        (RGB[None], "got uint8 [1, 6, 9, 3]"),
        (RGB[:0], "got uint8 [0, 9, 3]"),
        (b"bytes", "got bytes"),
        (None, "got NoneType"),
    ]:
        with pytest.raises(UserError, match=re.escape(got)):
            prepared(image, flat)


def test_the_folder_of_a_restoration_has_its_results_only(tmp_path):
    for name in ("a.png", "b.png", "strips/a.png", "strips/b.png", "uncertainty/a.png", "samples/a_1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert [path.name for path in find_images([tmp_path])] == ["a.png", "b.png"]
    assert len(find_images([tmp_path / "strips"])) == 2
    (tmp_path / "b.png").unlink()  # a class of own images may be called strips
    assert len(find_images([tmp_path])) == 5


def test_files_without_a_suffix_are_counted(tmp_path, caplog):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "LICENSE").write_text("x")
    (tmp_path / "b.cr2").write_text("x")
    find_images([tmp_path])
    assert "skipped 1 file without a suffix, 1 .cr2 file" in caplog.text
