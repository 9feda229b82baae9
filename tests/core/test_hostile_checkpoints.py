"""A file of another shape than `save` gives it is one line that names it: no code, no memory, no wait."""

import json
import os
import pickle
import resource
import struct
import warnings
import zipfile
from collections import Counter, OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from genmods.core import checkpoint, safetensors
from genmods.core.errors import UserError


def itself():
    items = []
    items.append(items)
    return items


def laughs():
    items = [1]
    for _ in range(30):
        items = [items, items]
    return items


def deep():
    value = 1
    for _ in range(60):
        value = [value]
    return value


CONTENTS = {
    "a list inside itself": itself,
    "shared lists": laughs,
    "a deep list": deep,
    "a tensor of one number shown as 10^9": lambda: torch.zeros(1).expand(10**9),
    "a tensor of one number shown as 10^12": lambda: torch.zeros(1).expand(10**6, 10**6),
    "many views of one storage": lambda: [torch.zeros(100_000).view(1, -1) for _ in range(1)] * 1000,
    "a sparse tensor": lambda: torch.eye(3).to_sparse(),
    "a meta tensor": lambda: torch.empty(10**12, device="meta"),
    "a quantized tensor": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "a conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "a parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "a set": lambda: {1, 2},
    "bytes": lambda: b"x" * 10,
    "a counter": lambda: Counter("aab"),
    "keys that are tuples": lambda: {(1, 2): 3},
    "5000 digits": lambda: 10**5000,
    "many numbers": lambda: {str(n): n / 3 for n in range(200_000)},
}


def written(path, content, **more):
    torch.save({"x": content, "genmods_checksum": "0" * 32, "genmods_format": checkpoint.FORMAT, **more}, path)
    return path


def refused(read, path):
    """The line of the refusal; it names the file, and took at most 200 MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=str(path)) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("case", CONTENTS)
def test_other_content_is_refused_before_it_is_used(tmp_path, case):
    line = refused(checkpoint.load, written(tmp_path / "x.ckpt", CONTENTS[case]()))
    assert "checksum" not in line or case == "many views of one storage"


@pytest.mark.parametrize("case", ["a sparse tensor", "a parameter", "a set", "bytes", "5000 digits", "many numbers"])
def test_what_could_not_be_read_is_not_written(tmp_path, case):
    with pytest.raises(UserError, match=r"x\.ckpt: not written"):
        checkpoint.save({"x": {"y": CONTENTS[case]()}}, tmp_path / "x.ckpt")
    assert os.listdir(tmp_path) == []


def test_an_expanded_tensor_is_written_and_read(tmp_path):
    checkpoint.save({"x": torch.ones(1).expand(3), "y": torch.zeros(1000)}, tmp_path / "x.ckpt")
    assert torch.equal(checkpoint.load(tmp_path / "x.ckpt")["x"], torch.ones(3))


def _rebuilt(path, change):
    """The archive at `path` written again with its entries as `change(name, content)` gives them."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            for other, data, kind in change(name, content):
                archive.writestr(zipfile.ZipInfo(other), data, compress_type=kind)
    return path


def _bomb(name, content):
    return [(name, b"\0" * 50_000_000 if "/data/" in name else content, zipfile.ZIP_DEFLATED)]


def _twice(name, content):
    return [(name, content, zipfile.ZIP_STORED)] * 2


def _named(module, name):
    def change(file, content):
        evil = b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"K\x01\x85R."
        return [(file, evil if file.endswith("data.pkl") else content, zipfile.ZIP_STORED)]

    return change


@pytest.mark.parametrize(
    "change",
    [_bomb, _twice, _named("builtins", "bytearray"), _named("torch", "Tensor"), _named("os", "system")],
    ids=["compressed", "a name twice", "bytearray", "torch.Tensor", "os.system"],
)
def test_another_archive_is_refused(tmp_path, change):
    refused(checkpoint.load, _rebuilt(written(tmp_path / "x.ckpt", torch.ones(3)), change))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_is_not_an_archive_is_refused(tmp_path, protocol):
    (tmp_path / "x.ckpt").write_bytes(pickle.dumps({"a": [1]}, protocol))
    refused(checkpoint.load, tmp_path / "x.ckpt")
    torch.save({"a": torch.ones(2)}, tmp_path / "y.ckpt", _use_new_zipfile_serialization=False)
    refused(checkpoint.load, tmp_path / "y.ckpt")


@pytest.mark.parametrize(("number", "line"), [(None, "older"), (1, "older"), ("x", "older"), (99, "newer")])
def test_another_format_is_refused_as_such(tmp_path, number, line):
    content = {"x": 1, "genmods_checksum": "0"} | ({} if number is None else {"genmods_format": number})
    torch.save(content, tmp_path / "x.ckpt")
    assert f"{line} version" in refused(checkpoint.load, tmp_path / "x.ckpt")
    metadata = {"genmods": "{}"} | ({} if number is None else {"genmods_format": str(number)})
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors", metadata)
    assert f"{line} version" in refused(safetensors.load, tmp_path / "x.safetensors")


def test_each_flipped_bit_of_an_export_is_found_or_of_no_effect(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.save({"recipe": {"name": "x"}, "step": 3}, {"a": torch.randn(9), "b": torch.arange(4)}, path)
    good, data = safetensors.load(path), path.read_bytes()
    generator = torch.Generator().manual_seed(20261128)
    silent = 0
    for place in torch.randint(8 * len(data), (300,), generator=generator).tolist():
        broken = bytearray(data)
        broken[place // 8] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            header, tensors = safetensors.load(path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            silent += 1
            assert header == good[0] and all(torch.equal(tensors[name], good[1][name]) for name in good[1])
    assert silent < 10


HEADERS = [
    "not JSON",
    "null",
    "[1]",
    "9" * 5000,
    "[" * 100_000,
    '{"a": NaN',
    "\ud800".encode("utf-8", "replace").decode(),
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_is_not_a_block_is_refused(tmp_path, header):
    tensors = {"a": torch.ones(1)}
    checksum = checkpoint.digest({"header": header, **tensors})
    metadata = {"genmods": header, "genmods_format": str(checkpoint.FORMAT), "genmods_checksum": checksum}
    save_file(tensors, tmp_path / "x.safetensors", metadata)
    refused(safetensors.load, tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", struct.pack("<Q", 2**63), struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 10**8), b"\xff" * 64],
    ids=range(6),
)
def test_a_file_that_is_not_safetensors_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    refused(safetensors.load, tmp_path / "x.safetensors")
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"0000")
    refused(safetensors.load, tmp_path / "x.safetensors")


def test_an_ordered_state_comes_back_as_one(tmp_path):
    checkpoint.save({"state": OrderedDict(a=torch.ones(1)), "n": (1, (2.5, None)), 3: True}, tmp_path / "x.ckpt")
    assert isinstance(checkpoint.load(tmp_path / "x.ckpt")["state"], OrderedDict)
