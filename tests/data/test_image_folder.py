"""Folders as people have them: every mode and format, every layout, and broken files that are named."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.data.files import Picture, read_image, write_image
from genmods.data.images import to_float
from genmods.data.module import ImageData
from genmods.data.sources.image_folder import ImageFolder


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


def damage(path: Path) -> None:
    """Changes some bytes in the middle."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 16] = b"0123456789abcdef"
    path.write_bytes(content)


BROKEN = {
    "half.png": lambda path: truncate(save(noise(0), path)),
    "half.jpg": lambda path: truncate(save(noise(1), path)),
    "half.webp": lambda path: truncate(save(noise(2), path)),
    "half.bmp": lambda path: truncate(save(noise(3), path)),
    "damaged.png": lambda path: damage(save(noise(4), path)),
    "empty.png": lambda path: path.touch(),
    "text.jpg": lambda path: path.write_text("these are words"),
    "directory.png": lambda path: path.mkdir(),
    "loop.png": lambda path: path.symlink_to(path),
    "dangling.jpg": lambda path: path.symlink_to(path.with_name("nowhere.jpg")),
    "huge.png": lambda path: Image.new("1", (12_000, 12_000)).save(path),
    "locked.png": lambda path: save(noise(5), path).chmod(0),
}


def break_some(root: Path) -> list[Path]:
    """Thirty broken files of twelve kinds: three of each of the first six, two of each of the others."""
    bad = [root / f"class {k}" / name for i, name in enumerate(BROKEN) for k in range(3 if i < 6 else 2)]
    for path in bad:
        BROKEN[path.name](path)
    return bad


@contextmanager
def ordinary_user() -> Iterator[None]:
    """No right to read what is locked: root, who may read everything, is nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


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


RECIPE = """
task: {name: classification, network: {name: cnn, layers: [conv 4, linear 8]}}
data: {name: image_folder, root: images, image_size: 16}
trainer: {max_steps: 2, accelerator: cpu}
"""


@pytest.fixture
def two_thousand(monkeypatch) -> Iterator[list[Path]]:
    """The folder `images` of 2,000, open to all, as the current one's; the broken ones among them."""
    with tempfile.TemporaryDirectory() as here:
        Path(here).chmod(0o755)
        monkeypatch.chdir(here)
        for k in range(3):
            Path(f"images/class {k}").mkdir(parents=True)
        encoded = save(noise(0), Path("x.png")).read_bytes()
        odd, bad = odd_but_fine(Path("images")), break_some(Path("images"))
        for i in range(2000 - odd - len(bad)):
            Path(f"images/class {i % 3}/{i}.png").write_bytes(encoded)
        yield bad
        monkeypatch.undo()


def test_thirty_broken_images_of_two_thousand_stop_it_or_are_left_out(two_thousand, capsys, caplog):
    Path("r.yaml").write_text(RECIPE)
    assert dispatch(["fit", "--config", "r.yaml", "--quiet"]) == 2 and not Path("runs").exists()
    assert "of 2,000 images cannot be read" in capsys.readouterr().err
    assert dispatch(["fit", "--config", "r.yaml", "--quiet", "--data.on_error=skip"]) == 0
    assert len(list(Path("runs").rglob("last.ckpt"))) == 1
    with ordinary_user(), pytest.raises(UserError) as stopped:
        _ = ImageData(ImageFolder("images"), image_size=16).info
    header, *lines = str(stopped.value).splitlines()
    assert header.startswith("30 of 2,000 images cannot be read")
    assert sorted(Path(line.strip().split(": ")[0]) for line in lines) == sorted(two_thousand)
    source = ImageFolder("images", on_error="skip")
    with ordinary_user():
        data = ImageData(source, image_size=16)
        assert sum(len(images) for images in data.splits.values()) == 1970 and len(source.broken) == 30
    assert "skipped 30 of 2,000 images, which cannot be read" in caplog.text


def test_transparency_sixteen_bits_and_orientation(tmp_path):
    save(Image.new("RGBA", (8, 8), (255, 0, 0, 0)), tmp_path / "clear.png")
    for background, value in (("white", 1.0), ("black", -1.0)):
        pixels = ImageFolder(str(tmp_path), background=background).read()["train"].pixels
        assert (to_float(pixels) == value).all() and pixels.shape == (1, 3, 8, 8)
    (tmp_path / "clear.png").unlink()
    values = torch.tensor([0, 128, 129, 65535]).view(1, 2, 2)
    write_image(tmp_path / "deep.png", Picture(values / 65535 * 2 - 1, bits=16))
    assert ImageFolder(str(tmp_path)).read()["train"].pixels.flatten().tolist() == [0, 128, 129, 65535]
    (tmp_path / "deep.png").unlink()
    exif = Image.Exif()
    exif[274] = 6
    lying = Image.new("RGB", (40, 20), (0, 0, 0))
    lying.paste((255, 255, 255), (0, 0, 20, 20))  # left half white: the upper half after rotation
    save(lying, tmp_path / "phone.png", exif=exif)
    upright = ImageFolder(str(tmp_path)).read_at(8)["train"].pixels[0, 0]
    assert upright[:3].min() > 200 and upright[-3:].max() < 55


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_uncompressed_tiff_is_upright(tmp_path, orientation, channels, bits):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, channels), dtype=np.uint8).squeeze()
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "plain.png", exif=exif)
    deep = pixels if bits == 8 else pixels.astype(np.uint16) * 257
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "x.tif", deep, photometric="rgb" if channels == 3 else "minisblack", extratags=tag)
    png, tiff = read_image(tmp_path / "plain.png"), read_image(tmp_path / "x.tif")
    assert tiff.bits == bits
    torch.testing.assert_close(tiff.image, png.image)


def test_white_may_be_zero_in_sixteen_bits(tmp_path):
    values = np.array([[0, 20000], [40000, 65535]], dtype=np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="miniswhite")
    assert ((read_image(tmp_path / "x.tif").image + 1) / 2 * 65535).round().int().tolist() == [
        [[65535, 45535], [25535, 0]]
    ]


def test_malformed_exif_is_a_broken_file(tmp_path):
    save(noise(0), tmp_path / "good.jpg")
    save(noise(1), tmp_path / "odd.png", exif=b"Exif\0\0nonsense")
    source = ImageFolder(str(tmp_path), on_error="skip")
    assert len(source.read()["train"]) == 1
    assert [line.split(":")[0] for line in source.broken] == [str(tmp_path / "odd.png")]


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
    for name in (
        "split/valid/x/3.png",
        "split/test/y/4.png",
        "odd/train/x/1.png",
        "odd/test/x/1.png",
        "odd/test/z/1.png",
    ):
        save(noise(len(name)), tmp_path / name)
    flat = ImageFolder(str(tmp_path / "flat"))
    assert flat.read()["train"].labels is None and flat.class_names == []
    with pytest.raises(UserError, match=r"mixed/a.png: is outside the class folders"):
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
    with pytest.raises(UserError, match="no images in"):
        ImageFolder(str(tmp_path / "bare")).read()


def test_sizes_and_channels(tmp_path):
    save(noise(0, mode="L"), tmp_path / "a.png")
    save(noise(1, 30, 20, mode="L"), tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b.png: has 30 x 20 pixels .*; set data.image_size"):
        ImageFolder(str(tmp_path)).read()
    assert ImageFolder(str(tmp_path)).read_at(12)["train"].pixels.shape == (2, 1, 12, 12)
    assert ImageFolder(str(tmp_path), channels=3).read_at(12)["train"].pixels.shape == (2, 3, 12, 12)


def test_broken_files_are_moved_out_and_counted(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 7).save(tmp_path / "set" / name)
    (tmp_path / "set/a/bad.png").write_bytes(b"no image")
    data = ImageData(ImageFolder(str(tmp_path / "set"), on_error="quarantine"), val_fraction=0, test_fraction=0)
    assert "left out: 1 broken image" in data.summary()[0]
    assert (tmp_path / "set.quarantine/a/bad.png").read_bytes() == b"no image"
    assert not (tmp_path / "set/a/bad.png").exists()
    again = ImageFolder(str(tmp_path / "set"), on_error="stop")
    assert len(again.read()["train"]) == 3 and again.left_out == ""


@pytest.mark.parametrize("kind", ["pipe", "link to itself"])
def test_pipes_are_refused_without_waiting(tmp_path, kind):
    Image.new("L", (4, 4), 7).save(tmp_path / "1.png")
    path = tmp_path / "odd.png"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(path.name)
    with pytest.raises(UserError, match=r"odd\.png"):
        ImageFolder(str(tmp_path)).read()
