"""Files of more than 8 bits per channel in formats that Pillow reads at 8 bits."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genmods.data.decoding import decode_files
from genmods.data.encoded import decoded as decode_encoded
from genmods.data.files import Picture, read_image, write_image
from genmods.data.preparation import Preparation

Y, X, C = np.mgrid[:4, :5, :3]
COLOR = ((Y * 13001 + X * 7001 + C * 3001 + Y * X * 37 + 17) % 65536).astype(np.uint16)
JPEG2000 = (
    "|4;u>051Rl000050000400000000000000500004000000000000R#J0S^HI4*>!HQUDA90003200aa80smY81VDiQWB?@q0Yh?SVRU6=AYyqS"
    "PjF>!N>D{dAa-SPb7^mGATlmBE;Rp;015yA0001U00IA#&-^f`5a7&i=Wgwa^=~D_VW%_eJ<3XWD+DPFO_dD5Hy}Ms%^|X#^>~L-ptaxlkk};Q"
    ")iMyT!ej09|6aAhH$Yz#ZPPXiPp)eOf5H9*01;47mog{-0fL&+5*ph9gn=So2mjd"
)
"""`COLOR` as a lossless codestream of 16 bits per channel."""


def seen(path: Path) -> np.ndarray:
    """The values in [0, 1], [H, W, C], which training and commands must agree on."""
    found = decode_files([path], Preparation(range=None))
    assert not found.broken, found.broken
    values = found.pixels[0].numpy().transpose(1, 2, 0) / (found.preparation.levels - 1)
    picture = read_image(path)
    assert picture.bits == 16
    if picture.alpha is None:
        np.testing.assert_allclose((picture.image.permute(1, 2, 0).numpy() + 1) / 2, values, atol=1e-5)
    return values


def test_a_colour_jpeg2000_of_16_bits_requires_a_decoder_that_keeps_them(tmp_path, monkeypatch):
    path = tmp_path / "x.jp2"
    path.write_bytes(base64.b85decode(JPEG2000))
    assert Image.open(path).mode == "RGB"
    with monkeypatch.context() as patch:
        patch.setattr("genmods.data.formats.deep.find_spec", lambda name: None)
        (line,) = decode_files([path], Preparation()).broken
    assert line == f"{path}: has 16 bits per channel, which require imagecodecs: pip install 'genmods[deep]'"
    pytest.importorskip("imagecodecs")
    np.testing.assert_array_equal(np.rint(seen(path) * 65535), COLOR)


@pytest.mark.parametrize("bits", [9, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("container", ["jp2", "j2k"])
def test_jpeg2000(tmp_path, bits, channels, container):
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.concatenate([COLOR, COLOR[:, ::-1, :1]], axis=2)[:, :, :channels] >> (16 - bits)
    path = tmp_path / f"x.{container}"
    path.write_bytes(
        imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=bits, codecformat=container)
    )
    share, color = values / (2**bits - 1), channels - (channels in (2, 4))
    if color < channels:  # white behind transparent pixels
        share = share[:, :, :color] * share[:, :, color:] + 1 - share[:, :, color:]
    np.testing.assert_allclose(seen(path), share, atol=1.1 / 65535)


def test_a_grey_jpeg2000_of_12_bits_is_read_by_pillow(tmp_path, monkeypatch):
    """Its values are in the upper bits: the largest is white."""
    imagecodecs = pytest.importorskip("imagecodecs")
    values = (COLOR[:, :, 0] >> 4).copy()
    values[0, 0] = 4095
    path = tmp_path / "x.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(values, level=0, reversible=True, bitspersample=12))
    monkeypatch.setattr("genmods.data.formats.deep.find_spec", lambda name: None)
    np.testing.assert_allclose(seen(path)[:, :, 0], values / 4095, atol=1.1 / 65535)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif(tmp_path, monkeypatch, bits, channels):
    imagecodecs = pytest.importorskip("imagecodecs")
    values = np.concatenate([COLOR, COLOR[:, ::-1, :1]], axis=2)[:, :, :channels] >> (16 - bits)
    path = tmp_path / "x.avif"
    path.write_bytes(imagecodecs.avif_encode(values.squeeze(), level=100, bitspersample=bits))
    share = values / (2**bits - 1)
    share = share[:, :, :3] * share[:, :, 3:] + 1 - share[:, :, 3:] if channels == 4 else share
    np.testing.assert_allclose(seen(path), share, atol=1.1 / 65535)
    monkeypatch.setattr("genmods.data.formats.deep.find_spec", lambda name: None)
    (line,) = decode_files([path], Preparation()).broken
    assert f"has {bits} bits per channel, which require imagecodecs" in line


def test_heic_of_10_bits(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    rows, columns = np.mgrid[:48, :64]
    values = np.stack([columns * 1000, rows * 1300, 0 * rows + 20000], axis=2).astype(np.uint16)
    pillow_heif.from_bytes("RGB;16", (64, 48), values.tobytes()).save(tmp_path / "x.heic", quality=95)
    found = seen(tmp_path / "x.heic") * 1023  # of which 8 are two levels of 255
    assert np.abs(found - values / 64).mean() < 8, "compressed, but the same picture"
    assert len(np.unique(found.round())) > 256


def test_a_12_bit_tiff_is_written_with_the_white_of_16_bits(tmp_path):
    values = (COLOR[:, :4, 0] >> 4).copy()
    values[0, 0] = 4095
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(4, 4, 2), axis=2)[:, :, 4:]
    data = np.packbits(bits.reshape(4, -1), axis=1).tobytes()
    tags = {256: 4, 257: 4, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: len(data)}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    content = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    (tmp_path / "x.tif").write_bytes(content)
    np.testing.assert_allclose(seen(tmp_path / "x.tif")[:, :, 0], values / 4095, atol=1e-5)
    for name in ("y.tif", "y.png"):
        write_image(tmp_path / name, read_image(tmp_path / "x.tif"))
        np.testing.assert_array_equal(read_image(tmp_path / name).stored()[:, :, 0], np.rint(values * (65535 / 4095)))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_16_bit_colour_png_with_alpha_and_exif(tmp_path, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    values = np.concatenate([COLOR, COLOR[:, ::-1, :1]], axis=2)
    write_image(tmp_path / "x.png", Picture(*split(values), bits=16, exif=exif.tobytes()))
    picture = read_image(tmp_path / "x.png")
    turned = np.rot90(values, {3: 2, 6: 3, 8: 1}.get(orientation, 0))
    np.testing.assert_array_equal(picture.stored(), turned)


def split(values: np.ndarray):
    """Colour in [-1, 1] and opacity of uint16 [H, W, 4], as a `Picture` has them."""
    import torch

    share = torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1) / 65535
    return share[:3] * 2 - 1, share[3:]


@pytest.mark.parametrize("kind", ["jp2", "png", "ppm"])
def test_images_in_archives_are_reduced_to_8_bits(tmp_path, kind):
    if kind == "png":
        color, _ = split(np.concatenate([COLOR, COLOR[:, :, :1]], axis=2))
        write_image(tmp_path / "x.png", Picture(color, bits=16))
        content = (tmp_path / "x.png").read_bytes()
    else:
        content = base64.b85decode(JPEG2000) if kind == "jp2" else b"P6 5 4 65535 " + COLOR.astype(">u2").tobytes()
    found = decode_encoded(content, Preparation((4, 5), 3, levels=256), "x")
    assert np.abs(found.transpose(1, 2, 0) - COLOR / 257).max() < 1.5


def test_channels_that_are_not_supported_are_one_line(tmp_path):
    content = bytearray(base64.b85decode(JPEG2000))
    place = content.find(b"\xff\x51") + 2
    for at, value, line in (
        (38, 0x8F, "must have unsigned channels of the same depth and size"),
        (38, 11, "must have unsigned channels of the same depth and size"),
        (39, 2, "must have unsigned channels of the same depth and size"),
        (38, 23, "must have unsigned channels of the same depth and size"),
    ):
        changed = content.copy()
        changed[place + at] = value
        (tmp_path / "x.j2k").write_bytes(changed)
        assert decode_files([tmp_path / "x.j2k"], Preparation()).broken == [f"{tmp_path / 'x.j2k'}: {line}"]
    for at in (38, 41, 44):
        content[place + at] = 23
    (tmp_path / "x.j2k").write_bytes(content)
    (line,) = decode_files([tmp_path / "x.j2k"], Preparation()).broken
    assert line.endswith("must have at most 16 bits per channel, got 24")


def test_a_format_without_a_deep_decoder_is_refused(tmp_path):
    header = struct.pack(">HBBHHHH", 474, 0, 2, 3, 5, 4, 3)
    (tmp_path / "x.sgi").write_bytes(header.ljust(512, b"\0") + COLOR.transpose(2, 0, 1).astype(">u2").tobytes())
    (line,) = decode_files([tmp_path / "x.sgi"], Preparation()).broken
    assert line == f"{tmp_path / 'x.sgi'}: has 16 bits per channel, which are not read from SGI files; use PNG or TIFF"
