"""Folders as people have them: every mode and format, every layout, and broken files that are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from genmods.data.files import Picture, write_image
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.data.sources.image_folder import ImageFolder
from genmods.errors import UserError


def noise(seed: int, width: int = 20, height: int = 20, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def save(image: Image.Image, path: Path, **settings) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **settings)
    return path


def truncate(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def break_some(root: Path) -> list[Path]:
    """Thirty broken files of ten kinds."""
    bad = []
    for k in range(3):
        here = root / f"class {k}"
        bad += [truncate(save(noise(k), here / f"half.{suffix}")) for suffix in ("png", "jpg", "webp", "bmp")]
        (here / "empty.png").touch()
        (here / "text.jpg").write_text("these are words")
        (here / "directory.png").mkdir()
        (here / "loop.png").symlink_to(here / "loop.png")
        (here / "dangling.jpg").symlink_to(here / "nowhere.jpg")
        Image.new("1", (12_000, 12_000)).save(here / "huge.png")
        bad += [here / f for f in ["empty.png", "text.jpg", "directory.png", "loop.png", "dangling.jpg", "huge.png"]]
    return bad


def odd_but_fine(root: Path) -> int:
    """Files of unusual kinds that are images all the same."""
    here = root / "class 0"
    save(noise(1, mode="CMYK"), here / "cmyk.jpg")
    save(noise(2, mode="L"), here / "grey.png")
    save(noise(3, mode="RGBA"), here / "alpha.png")
    save(noise(4).quantize(16), here / "palette.gif", transparency=0)
    save(noise(5), here / "animated.gif", save_all=True, append_images=[noise(6)])
    save(noise(7), here / "named wrongly.jpg", format="PNG")
    save(noise(8), here / "größe 图.webp")
    save(noise(9, 90, 31), here / "deep" / "er" / "wide.TIFF")
    write_image(here / "sixteen.png", Picture(torch.zeros(1, 20, 20), bits=16))
    (here / ".hidden.png").write_text("no image")
    (here / "notes.txt").write_text("no image")
    (here / "up").symlink_to(root)
    return 9


def test_two_thousand_images_of_which_thirty_are_broken(tmp_path, caplog):
    encoded = save(noise(0), tmp_path / "one" / "x.png").read_bytes()
    root = tmp_path / "root"
    odd = 0
    for k in range(3):
        (root / f"class {k}").mkdir(parents=True)
    odd = odd_but_fine(root)
    bad = break_some(root)
    plain = 2000 - odd - len(bad)
    for i in range(plain):
        (root / f"class {i % 3}" / f"{i}.png").write_bytes(encoded)
    with pytest.raises(UserError) as stopped:
        ImageData(ImageFolder(str(root)), image_size=16).facts()
    header, *lines = str(stopped.value).splitlines()
    assert header.startswith("30 of 2,000 images are broken")
    assert sorted(Path(line.strip().split(": ")[0]) for line in lines) == sorted(bad)
    source = ImageFolder(str(root), on_error="skip")
    data = ImageData(source, image_size=16)
    assert data.facts()["in_channels"] == 3 and data.facts()["class_names"] == ["class 0", "class 1", "class 2"]
    assert sum(len(images) for images in data.splits.values()) == 1970 and len(source.broken) == 30
    assert "left out 30 of 2000" in caplog.text


def test_transparency_sixteen_bits_and_orientation(tmp_path):
    save(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), tmp_path / "clear.png")
    for background, value in (("white", 1.0), ("black", -1.0)):
        pixels = ImageFolder(str(tmp_path), background=background).read()["train"].pixels
        assert (to_float(pixels) == value).all() and pixels.shape == (1, 3, 8, 8)
    (tmp_path / "clear.png").unlink()
    values = torch.tensor([0, 128, 129, 65535]).view(1, 2, 2)
    write_image(tmp_path / "deep.png", Picture(values / 65535 * 2 - 1, bits=16))
    assert ImageFolder(str(tmp_path)).read()["train"].pixels.flatten().tolist() == [0, 0, 1, 255]
    (tmp_path / "deep.png").unlink()
    exif = Image.Exif()
    exif[274] = 6
    lying = Image.new("RGB", (40, 20), (0, 0, 0))
    lying.paste((255, 255, 255), (0, 0, 20, 20))  # left half white: the upper half once it stands
    save(lying, tmp_path / "phone.png", exif=exif)
    upright = ImageFolder(str(tmp_path)).read_at(8)["train"].pixels[0, 0]
    assert upright[:3].min() > 200 and upright[-3:].max() < 55


def test_layouts(tmp_path):
    for name in (
        "flat/a.png",
        "flat/b.png",
        "mixed/a.png",
        "mixed/k/b.png",
        "split/train/x/1.png",
        "split/train/y/2.png",
    ):
        save(noise(len(name)), tmp_path / name)
    for name in ("split/valid/x/3.png", "split/test/y/4.png", "odd/train/x/1.png", "odd/test/z/1.png"):
        save(noise(len(name)), tmp_path / name)
    flat = ImageFolder(str(tmp_path / "flat"))
    assert flat.read()["train"].labels is None and flat.class_names == []
    with pytest.raises(UserError, match=r"mixed/a.png: lies beside class folders"):
        ImageFolder(str(tmp_path / "mixed")).read()
    assert len(ImageFolder(str(tmp_path / "mixed"), labels=False).read()["train"]) == 2
    split = ImageFolder(str(tmp_path / "split"))
    splits = split.read()
    assert {name: images.labels.tolist() for name, images in splits.items()} == {
        "train": [0, 1],
        "val": [0],
        "test": [1],
    }
    assert split.class_names == ["x", "y"]
    with pytest.raises(UserError, match="there is no class 'z' among the training images"):
        ImageFolder(str(tmp_path / "odd")).read()
    with pytest.raises(UserError, match="there is no folder"):
        ImageFolder(str(tmp_path / "nothing")).read()
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="there are no images"):
        ImageFolder(str(tmp_path / "bare")).read()


def test_sizes_and_channels(tmp_path):
    save(noise(0, mode="L"), tmp_path / "a.png")
    save(noise(1, 30, 20, mode="L"), tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b.png: has 30 x 20 pixels; .* set data.image_size"):
        ImageFolder(str(tmp_path)).read()
    assert ImageFolder(str(tmp_path)).read_at(12)["train"].pixels.shape == (2, 1, 12, 12)
    assert ImageFolder(str(tmp_path), channels=3).read_at(12)["train"].pixels.shape == (2, 3, 12, 12)


def test_unbalanced_classes_are_reported(tmp_path, caplog):
    for i in range(5):
        save(noise(i), tmp_path / "many" / f"{i}.png")
    save(noise(9), tmp_path / "few" / "0.png")
    ImageFolder(str(tmp_path)).read()
    assert "unbalanced: few 1, many 5" in caplog.text
