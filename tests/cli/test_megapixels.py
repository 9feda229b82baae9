import torch

from genmods.cli.megapixels import Megapixels
from genmods.data.files import Picture, write_image


class Bar:
    """Records what a bar would show."""

    def __init__(self, visible=True):
        self.visible, self.calls = visible, []

    def __call__(self, done, total):
        self.calls.append((round(done, 6), round(total, 6)))


def files(folder):
    for name, height, width in (("a.png", 100, 50), ("b.png", 20, 10), ("c.png", 100, 100)):
        write_image(folder / name, Picture(torch.zeros(1, height, width)))
    (folder / "d.png").write_bytes(b"no image")
    return [folder / f"{name}.png" for name in "abcd"]


def test_large_images_count_for_more_and_parts_of_images_are_shown(tmp_path):
    bar = Bar()
    progress = Megapixels(bar, files(tmp_path))
    progress.finish([1])
    progress.within([0, 2])(1, 4)
    progress.within([0, 2])(3, 4)
    progress.finish([0, 2])
    assert bar.calls == [(0.0002, 0.0152), (0.00395, 0.0152), (0.01145, 0.0152), (0.0152, 0.0152)]


def test_a_hidden_bar_opens_no_file(tmp_path):
    bar = Bar(visible=False)
    progress = Megapixels(bar, [tmp_path / "absent.png"])
    progress.finish([0])
    progress.within([0])(1, 2)
    assert bar.calls == []
