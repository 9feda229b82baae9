import pytest
import torch
from PIL import Image

from genmods.cli.mask_option import parse_hole
from genmods.core.errors import UserError


def test_a_mask_in_three_forms(tmp_path):
    box = parse_hole("box:2,1,3,4", 8, 10)
    assert box.sum() == 12 and box[1:5, 2:5].all()
    scattered = parse_hole("random:0.5", 40, 40, seed=1, index=2)
    assert 0.4 < scattered.float().mean() < 0.6
    assert not torch.equal(scattered, parse_hole("random:0.5", 40, 40, seed=1, index=3))
    Image.fromarray((box * 255).byte().numpy()).save(tmp_path / "mask.png")
    assert torch.equal(parse_hole(str(tmp_path / "mask.png"), 8, 10), box)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("box:1,2,3", "--mask: expected a file"),
        ("box:1,2,3,x", "--mask: expected a file"),
        ("box:1.5,2,3,4", "--mask: expected a file"),
        ("box:0,0,9,3", "must fit into the image"),
        ("box:0,0,8,8", "covers the whole image"),
        ("random:0", "the mask is empty"),
        ("random:2", "fraction must be at most 1"),
        ("random:", "--mask: expected a file"),
        ("nowhere.png", "no such file"),
        ("{folder}/small.png", "8 x 8 pixels, got 4 x 6"),
        ("{folder}/broken.png", "is not an image"),
    ],
)
def test_a_wrong_mask_is_one_clear_line(text, line, tmp_path):
    Image.new("L", (4, 6)).save(tmp_path / "small.png")
    Image.new("RGBA", (8, 8)).save(tmp_path / "alpha.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=line) as error:
        parse_hole(text.format(folder=tmp_path), 8, 8)
    assert "\n" not in str(error.value)
