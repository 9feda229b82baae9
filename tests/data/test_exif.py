"""EXIF data of files: kept by every format, without the orientation, which has been applied."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from genmods.cli.image_batches import _like
from genmods.data.files import Picture, read_image, write_image
from genmods.data.formats.exif import read_exif

TEXTS = {271: "Canon", 306: "2024:01:01 10:00:00", 33432: "J. Doe"}
DETAILS = {33434: 1 / 60, 36867: "2024:01:01 10:00:00"}
PLACE = {1: "N", 2: (47.0, 22.0, 8.0)}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 255, (12, 20, 3), dtype=np.uint8)


def exif_data(orientation=1):
    exif = Image.Exif()
    for tag, value in {**TEXTS, 274: orientation, 34665: DETAILS, 34853: PLACE}.items():
        exif[tag] = value
    return exif.tobytes()


@pytest.mark.parametrize("source", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_every_format_keeps_it(tmp_path, pixels, source):
    Image.fromarray(pixels).save(tmp_path / source, exif=exif_data(6))
    picture = read_image(tmp_path / source)
    assert picture.image.shape == (3, 20, 12)
    for name, bits in {"o.png": 8, "o.webp": 8, "o.jpg": 8, "deep.png": 16}.items():
        write_image(tmp_path / name, _like(Picture(picture.image, None, bits, exif=picture.exif), picture.image))
        with Image.open(tmp_path / name) as image:
            found = image.getexif()
            assert {tag: found.get(tag) for tag in TEXTS} == TEXTS and 274 not in found and image.size == (12, 20)
            assert found.get_ifd(34665)[36867] == DETAILS[36867] and found.get_ifd(34853) == PLACE
            assert float(found.get_ifd(34665)[33434]) == pytest.approx(1 / 60)
    for name, bits in {"o.tif": 8, "deep.tif": 16}.items():
        write_image(tmp_path / name, Picture(picture.image, None, bits, exif=picture.exif))
        tags = tifffile.TiffFile(tmp_path / name).pages[0].tags
        assert {tag: tags[tag].value for tag in TEXTS} == TEXTS and tags[256].value == 12
        assert 274 not in tags or tags[274].value == 1
    assert tifffile.imread(tmp_path / "deep.tif").dtype == np.uint16


def test_a_deep_colour_tiff_has_it_too(tmp_path, pixels):
    tags = [(tag, 2, 0, text, True) for tag, text in TEXTS.items() if tag != 306]
    tifffile.imwrite(tmp_path / "a.tif", pixels.astype(np.uint16) * 257, photometric="rgb", extratags=tags)
    picture = read_image(tmp_path / "a.tif")
    assert picture.bits == 16
    write_image(tmp_path / "o.png", picture)
    found = Image.open(tmp_path / "o.png").getexif()
    assert found[271] == "Canon" and found[33432] == "J. Doe" and 258 not in found


@pytest.mark.parametrize("data", [None, b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f"])
def test_without_readable_data(tmp_path, pixels, data):
    Image.fromarray(pixels).save(tmp_path / "a.jpg", **({} if data is None else {"exif": data}))
    assert read_exif(tmp_path / "a.jpg") is None
    np.save(tmp_path / "a.npy", pixels)
    assert read_exif(tmp_path / "a.npy") is None
