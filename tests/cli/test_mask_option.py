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
        ("box:1,2,3", "a mask is"),
        ("box:1,2,3,x", "a mask is"),
        ("box:1.5,2,3,4", "a mask is"),
        ("box:0,0,9,3", "must fit into the image"),
        ("box:0,0,8,8", "fills everything"),
        ("random:0", "fills nothing"),
        ("random:2", "0..1"),
        ("random:", "a mask is"),
        ("nowhere.png", "no such file"),
        ("{folder}/small.png", "4 x 6 pixels"),
        ("{folder}/alpha.png", "mode is RGBA"),
        ("{folder}/broken.png", "cannot be read"),
    ],
)
def test_a_wrong_mask_is_one_clear_line(text, line, tmp_path):
    Image.new("L", (4, 6)).save(tmp_path / "small.png")
    Image.new("RGBA", (8, 8)).save(tmp_path / "alpha.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=line) as error:
        parse_hole(text.format(folder=tmp_path), 8, 8)
    assert "\n" not in str(error.value)
