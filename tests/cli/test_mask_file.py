"""Masks as editors and labelling tools write them: each kind means the same pixels."""

import numpy as np
import pytest
from PIL import Image

from genmods.cli.mask_file import read_mask_file
from genmods.cli.mask_option import notes, parse_hole
from genmods.core.errors import UserError

HOLE = np.zeros((12, 10), dtype=bool)
HOLE[3:7, 2:6] = True
WHITE = (HOLE * 255).astype(np.uint8)
PHOTOGRAPH = (np.arange(120).reshape(12, 10) * 2).astype(np.uint8)


def rgba(color, alpha):
    return np.dstack([*(np.full_like(WHITE, c) if np.isscalar(c) else c for c in color), alpha])


def palette(values, colors, **info):
    image = Image.fromarray(values.astype(np.uint8), "P")
    image.putpalette(colors)
    image.info.update(info)
    return image


KINDS = {
    "grey": lambda: Image.fromarray(WHITE),
    "one bit": lambda: Image.fromarray(WHITE).convert("1"),
    "colour": lambda: Image.fromarray(np.dstack([WHITE] * 3)),
    "white on black, opaque alpha": lambda: Image.fromarray(rgba([WHITE] * 3, np.full_like(WHITE, 255))),
    "white on transparent": lambda: Image.fromarray(rgba([255] * 3, WHITE)),
    "black on transparent": lambda: Image.fromarray(rgba([0] * 3, WHITE)),
    "red on transparent": lambda: Image.fromarray(rgba([255, 0, 0], WHITE)),
    "grey and alpha": lambda: Image.fromarray(np.dstack([WHITE, np.full_like(WHITE, 255)]), "LA"),
    "labels in a palette": lambda: palette(HOLE, [0, 0, 0, 128, 0, 0]),
    "grey palette": lambda: palette(WHITE, [k for k in range(256) for _ in range(3)]),
    "palette with white first": lambda: palette(~HOLE, [255, 255, 255, 0, 0, 0]),
    "labels with a void": lambda: palette(HOLE * 255, [0, 0, 0, *[128, 0, 0] * 254, 224, 224, 192]),
    "eight bits in sixteen": lambda: Image.fromarray(HOLE.astype(np.uint16) * 255 + (~HOLE).astype(np.uint16) * 90),
    "erased from a photograph": lambda: Image.fromarray(rgba([PHOTOGRAPH, 90, 30], 255 - WHITE)),
    "sixteen bits": lambda: Image.fromarray(HOLE.astype(np.uint16) * 65535),
    "zeros and ones": lambda: Image.fromarray(HOLE.astype(np.uint8)),
    "zeros and ones of sixteen bits": lambda: Image.fromarray(HOLE.astype(np.uint16)),
    "labels": lambda: Image.fromarray((HOLE * 3).astype(np.uint8)),
}


@pytest.fixture
def written(tmp_path):
    def write(image, name="mask.png"):
        image.save(tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_means_the_same_pixels(written, kind):
    mask, _ = read_mask_file(written(KINDS[kind]()))
    assert np.array_equal(mask, HOLE)


ARRAYS = {
    "bool": HOLE,
    "one": HOLE.astype(np.int64),
    "float up to one": HOLE * np.float32(1),
    "float up to 255": HOLE * 255.0,
    "channels first": HOLE[None].astype(np.uint8),
    "signed": np.where(HOLE, 1.0, -1.0),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_are_masks(tmp_path, kind):
    np.save(tmp_path / "mask.npy", ARRAYS[kind])
    assert np.array_equal(read_mask_file(tmp_path / "mask.npy")[0], HOLE)


@pytest.mark.parametrize("turned", [False, True])
def test_deep_and_turned_tiff_masks(tmp_path, turned):
    tifffile = pytest.importorskip("tifffile")
    deep = np.stack([WHITE.astype(np.uint16) * 257] * 3)
    shown, tags = (np.rot90(deep, 1, (1, 2)), [(274, "H", 1, 6, True)]) if turned else (deep, [])
    tifffile.imwrite(tmp_path / "m.tif", shown, photometric="rgb", planarconfig="separate", extratags=tags)
    assert np.array_equal(read_mask_file(tmp_path / "m.tif")[0], HOLE)


def test_arrays_that_are_no_masks_are_refused(tmp_path):
    np.save(tmp_path / "mask.npy", np.full((12, 10), np.nan))
    with pytest.raises(UserError, match=r"mask.npy: has values that are not finite"):
        read_mask_file(tmp_path / "mask.npy")
    np.save(tmp_path / "mask.npy", np.zeros((12, 10, 5)))
    with pytest.raises(UserError, match=r"mask.npy: must have 1 or 3 channels, got 5"):
        read_mask_file(tmp_path / "mask.npy")


def test_two_masks_of_one_name_are_refused(written, tmp_path):
    written(Image.fromarray(WHITE), "a.png")
    (tmp_path / "a.json").write_text("{}")
    assert np.array_equal(parse_hole(str(tmp_path), 12, 10, name=tmp_path / "a.jpg").numpy(), HOLE)
    written(Image.fromarray(WHITE), "a.bmp")
    assert np.array_equal(parse_hole(str(tmp_path), 12, 10, name=tmp_path / "a.bmp").numpy(), HOLE)
    with pytest.raises(UserError, match=r"must have one mask called a, got a.bmp, a.png"):
        parse_hole(str(tmp_path), 12, 10, name=tmp_path / "a.jpg")


def test_grey_edges_count_from_half_and_are_reported(written):
    soft = WHITE.copy()
    soft[2, 2:6], soft[7, 2:6] = 200, 60
    mask, told = read_mask_file(written(Image.fromarray(soft)))
    assert mask[2, 2:6].all() and not mask[7].any()
    assert len(told) == 1 and "6.7% of the pixels are grey" in told[0]


def test_a_small_largest_value_is_reported(written):
    path = written(KINDS["zeros and ones"]())
    assert notes(str(path)) == [f"{path}: the largest value is 1; pixels above 0 are filled"]


def test_inverted(written):
    path = written(Image.fromarray(255 - WHITE))
    assert np.array_equal(parse_hole(str(path), 12, 10, invert=True).numpy(), HOLE)


def test_a_folder_has_a_mask_for_each_image(written, tmp_path):
    written(Image.fromarray(WHITE), "a.png")
    written(Image.fromarray(WHITE.T.copy()), "b.png")
    first = parse_hole(str(tmp_path), 12, 10, name=tmp_path / "a.jpg")
    second = parse_hole(str(tmp_path), 10, 12, name=tmp_path / "b.jpg")
    assert np.array_equal(first.numpy(), HOLE) and np.array_equal(second.numpy(), HOLE.T)
    with pytest.raises(UserError, match="there is no mask called c in this folder"):
        parse_hole(str(tmp_path), 12, 10, name=tmp_path / "c.jpg")


def test_empty_masks_and_other_files_are_refused_before_the_model_is_loaded(written, tmp_path):
    path = written(Image.fromarray(np.zeros_like(WHITE)))
    with pytest.raises(UserError, match="the mask is empty"):
        parse_hole(str(path), 12, 10)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"--mask .*text.png: is not an image"):
        notes(str(tmp_path / "text.png"))


@pytest.mark.parametrize("white", [False, True])
@pytest.mark.parametrize("invert", [False, True])
def test_masks_that_fill_nothing_or_everything_are_refused_at_once(tmp_path, white, invert):
    path = tmp_path / "mask.png"
    Image.fromarray(np.full((6, 5), 255 * white, np.uint8)).save(path)
    with pytest.raises(UserError, match="the mask covers the whole image" if white != invert else "the mask is empty"):
        notes(str(path), invert)
