import os
from collections import OrderedDict

import pytest
import torch

from genmods.core import checkpoint
from genmods.core.errors import UserError


def content():
    return {
        "state_dict": OrderedDict(a=torch.randn(3, 4), b=torch.arange(5), c=torch.zeros(0), d=torch.tensor(2.0)),
        "half": torch.randn(7).bfloat16(),
        "numbers": [1, 2.5, None, True, ("x", 3)],
    }


def test_what_is_written_comes_back(tmp_path):
    before = content()
    checkpoint.save(before, tmp_path / "new" / "last.ckpt")
    after = checkpoint.load(tmp_path / "new" / "last.ckpt")
    assert checkpoint.digest(after) == checkpoint.digest(before)
    assert torch.equal(after["half"], before["half"])
    assert os.listdir(tmp_path / "new") == ["last.ckpt"]


def test_a_flipped_byte_is_found(tmp_path):
    path = tmp_path / "last.ckpt"
    weights = torch.randn(1000)
    checkpoint.save({"w": weights}, path)
    data = bytearray(path.read_bytes())
    position = data.find(weights[500:502].numpy().tobytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"last.ckpt: (damaged|not a readable)"):
        checkpoint.load(path)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_other_files_are_refused_in_one_line(tmp_path, damage):
    path = tmp_path / "x.ckpt"
    if damage is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(damage)
    with pytest.raises(UserError) as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"x": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError):
        checkpoint.load(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    checkpoint.save({"w": 1}, path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save({"w": 2}, path)
    monkeypatch.undo()
    assert checkpoint.load(path) == {"w": 1}
    assert os.listdir(tmp_path) == ["last.ckpt"]
