"""Photos of phones, where pillow-heif is installed."""

import numpy as np
import pytest
from PIL import Image

from genmods.data.module import ImageData
from genmods.data.sources.image_folder import ImageFolder

pillow_heif = pytest.importorskip("pillow_heif")


def test_heic_files_are_a_class_like_any_other(tmp_path):
    pillow_heif.register_heif_opener()
    rows, columns = np.mgrid[:48, :64]
    pixels = np.stack([columns * 4, rows * 5, np.full_like(rows, 90)], axis=2).astype(np.uint8)
    for name in ("bird", "fish"):
        (tmp_path / name).mkdir()
    for k in range(6):
        Image.fromarray(pixels).save(tmp_path / f"bird/{k}.HEIC", quality=95)
        Image.fromarray(pixels).save(tmp_path / f"fish/{k}.png")
    data = ImageData(ImageFolder(str(tmp_path)), image_size=(48, 64))
    train = data.splits["train"]
    assert data.info.class_names == ["bird", "fish"] and min(data.info.class_counts) >= 3
    phone, exact = (train.pixels[train.labels == k][0].float() for k in (0, 1))
    assert (phone - exact).abs().mean() < 3, "compressed, but the same picture"
