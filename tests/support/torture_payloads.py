"""Checkpoints and exports that somebody made to hurt: they would run code, refer elsewhere or take memory."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from genmods.core import checkpoint as files, plain, safetensors
from support.torture import Chance
from support.torture_runs import trained

MODULE, CANARY = "torture_module", "canary"
"""A module on the path that no good file imports, and a folder that no good file opens."""


class Call:
    """Unpickled, it would be a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        function, *given = self.call
        return function, tuple(given)


def good(chance: Chance) -> dict[str, Any]:
    """The content of a good checkpoint."""
    return copy.deepcopy(files.load(trained(chance.choice("cd")) / "run" / "checkpoints" / "last.ckpt"))


def sealed(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint with its checksum, where one can be computed: shared lists have no end."""
    content = {**content, files.FORMAT_KEY: files.FORMAT}
    checksum = "0" * 32 if plain.fault(content, 10**6, 1 << 30) else files.digest(content)
    torch.save({**content, files.CHECKSUM_KEY: checksum}, path)


def archive(content: bytes, path: Path, *more: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    """A file as `torch.save` writes it, with a pickle of our own, and more entries."""
    stream = io.BytesIO()
    torch.save({"a": torch.ones(2)}, stream)
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(path, "w", method) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, content if entry.filename.endswith("data.pkl") else old.read(entry))
        for name, data in more:
            new.writestr(name, data)


def calls(chance: Chance, folder: Path) -> Call:
    """An object whose unpickling would run code or import a module."""
    import subprocess
    from functools import partial

    mark = str(folder / "ran")
    options: list[tuple[Any, ...]] = [
        (os.system, f"touch {mark}"),
        (open, mark, "w"),
        (eval, f"open({mark!r}, 'w')"),
        (exec, f"open({mark!r}, 'w')"),
        (subprocess.call, ["touch", mark]),
        (__import__, MODULE),
        (os.mkdir, mark),
        (partial(os.system, f"touch {mark}"),),
        (torch.load, mark),
        (torch.hub.load, str(folder / CANARY), "x", "local"),
        (Path.write_text, Path(mark), "x"),
        (getattr, Path, "cwd"),
        (bytearray, 10**12),
    ]
    return Call(*chance.choice(options))


def code_in_an_archive(chance: Chance, folder: Path, path: Path) -> None:
    value = {"state_dict": {"a": calls(chance, folder)}, files.FORMAT_KEY: files.FORMAT}
    archive(pickle.dumps(value, chance.randrange(6)), path)


def code_in_a_pickle(chance: Chance, folder: Path, path: Path) -> None:
    value = calls(chance, folder)
    if chance.random() < 0.5:
        path.write_bytes(pickle.dumps(value, chance.randrange(6)))
    else:
        torch.save({"x": value}, path, _use_new_zipfile_serialization=False)


def opcodes(chance: Chance, folder: Path, path: Path) -> None:
    mark = str(folder / "ran").encode()
    programs = [
        b"cos\nsystem\n(S'touch " + mark + b"'\ntR.",
        b"(S'touch " + mark + b"'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch " + mark + b"'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0atouch hit\x85R.",
        b"\x80\x04\x8c\x05torch\x8c\x0b_utils.eval\x93.",
        b"\x80\x02c" + MODULE.encode() + b"\nx\n.",
        b"\x80\x02c__builtin__\neval\nX\x03\x00\x00\x001+1\x85R.",
        b"\x80\x02P../" + CANARY.encode() + b"/a\n.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02]q\x00h\x00a.",
        b"\x80\x02}q\x00(X\x01\x00\x00\x00ah\x00u.",
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20) + b".",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aK\x01sb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x02K\x03tR.",
        b"\x80\x02ctorch\nSize\nJ\xff\xff\xff\x7f\x85R.",
        b"I" + b"9" * 10_000 + b"\n.",
        b"",
        b".",
        b"0" * 99,
    ]
    archive(chance.choice(programs), path)


def archives(chance: Chance, folder: Path, path: Path) -> None:
    plain = pickle.dumps({}, 2)
    kind = chance.randrange(6)
    if kind == 0:  # 60 MB in 60 kB
        archive(plain, path, ("archive/data/0", bytes(60_000_000)), method=zipfile.ZIP_DEFLATED)
    elif kind == 1:
        archive(bytes(60_000_000), path, method=zipfile.ZIP_LZMA)
    elif kind == 2:
        archive(plain, path, (str(folder / CANARY / "x"), b"x"), ("../../x", b"x"))
    elif kind == 3:
        archive(plain, path, *((f"archive/data/{i}", b"") for i in range(20_000)))
    elif kind == 4:
        archive(plain, path, ("archive/data.pkl", pickle.dumps(calls(chance, folder), 2)))
    else:  # the directory has another size
        archive(plain, path, ("archive/data/1", bytes(999)))
        data = bytearray(path.read_bytes())
        at = data.rindex(b"PK\x01\x02")
        data[at + 24 : at + 28] = struct.pack("<I", 2**31 - 1)
        path.write_bytes(data)


def nested(depth: int, wide: int = 1) -> list[Any]:
    value: list[Any] = [1]
    for _ in range(depth):
        value = [value] * wide
    return value


def strange(chance: Chance) -> Any:
    """Something that is no plain data, more than the file holds, or a value where none of its kind is expected."""
    return chance.choice(
        [
            lambda: torch.zeros(1).expand(10 ** chance.randint(8, 15)),
            lambda: torch.zeros(2).as_strided((10**6, 10**6), (0, 0)),
            lambda: nested(chance.randint(30, 400)),
            lambda: nested(chance.randint(20, 60), 2),
            lambda: torch.empty(10**12, device="meta"),
            lambda: torch.eye(9).to_sparse(),
            lambda: torch.eye(9).to_sparse_csr(),
            lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
            lambda: torch.nn.Parameter(torch.ones(3)),
            lambda: 10 ** chance.choice([100, 5000]),
            lambda: {(1, 2): 3},
            lambda: {1: 2, None: 3},
            lambda: "x" * 5_000_000,
            lambda: "\x1b[2J\u202e\n" * 9,
            lambda: chance.choice([float("nan"), float("inf"), -1, 0, 2**63, True, None, "", [], {}, -0.5]),
            lambda: {str(k): k for k in range(200_000)},
            lambda: [torch.zeros(0)] * 100_000,
            lambda: torch.ones(3, dtype=chance.choice([torch.complex64, torch.float8_e4m3fn, torch.bool, torch.uint8])),
            lambda: bytes(9),
            lambda: {1, 2},
            lambda: complex(1, 2),
            lambda: range(9),
        ]
    )()


def not_plain(chance: Chance, folder: Path, path: Path) -> None:
    content = good(chance)
    content[chance.choice(["x", "callbacks", "state_dict", "hyper_parameters"])] = {"a": strange(chance)}
    sealed(content, path)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a tree of dictionaries and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def another_value(chance: Chance, folder: Path, path: Path) -> None:
    content = good(chance)
    top = chance.choice(list(content))
    place = chance.choice([each for each in places(content) if each[0] == top])
    inside: Any = content
    for key in place[:-1]:
        inside = inside[key]
    if chance.random() < 0.3:
        del inside[place[-1]]
    elif chance.random() < 0.2 and isinstance(inside, dict):
        inside[chance.choice([1, "", "a.b", "x" * 9999, "\x1b[2J"])] = inside.pop(place[-1])
    else:
        inside[place[-1]] = strange(chance)
    sealed(content, path)


def enormous(chance: Chance, recipe: dict[str, Any]) -> None:
    """Make a recipe's network, data or sampler enormous."""
    task = recipe["task"]
    size = chance.choice([10**3, 10**5, 10**9, 10**30])
    many = min(size, 9000)
    if "sampler" in task and chance.random() < 0.2:
        steps = chance.choice([10**7, 10**9, 10**30])  # fewer are a long wait with a progress bar, as in any recipe
        task["sampler"] = {"name": chance.choice(["unipc", "ddim", "heun"]), "steps": steps}
    elif task["network"]["name"] == "cnn":
        layers = [[f"conv {size}"], ["conv 4"] * many, [f"linear {size}"], ["conv 4 999"], [f"dropout 0.{size}"]]
        task["network"]["layers"] = chance.choice(layers)
    else:
        key = chance.choice(["width", "blocks", "multipliers", "attention"])
        task["network"][key] = [1] * many if key in ("multipliers", "attention") else size


def refer(chance: Chance, recipe: dict[str, Any], folder: Path) -> None:
    """Let a recipe name modules, files and folders."""
    canary, task = str(folder / CANARY), recipe["task"]
    values: list[Any] = [
        {"class_path": f"{MODULE}.Net"},
        {"name": f"{MODULE}:Net"},
        {"name": f"{MODULE}.Net"},
        {"from": canary},
        {"from": "../../../../etc"},
        {"from": "/dev/zero"},
        {"from": "wandb:a/b/c:latest"},
        {"from": "hf:a/b"},
        {"name": "diffusers", "path": canary},
        {"name": "timm", "weights": f"{canary}/a.safetensors"},
        {**task["network"], "weights": f"{canary}/a.pth"},
        {**task["network"], "weights": "${HOME}"},
    ]
    kind = chance.randrange(6)
    if kind < 3:
        task["network"] = chance.choice(values)
    elif kind == 3:
        name = chance.choice(["image_folder", "shards", "paired_folder"])
        recipe["data"] = {"name": name, "root": chance.choice([canary, "${HOME}", "/dev/zero"])}
    elif kind == 4:
        key = chance.choice(["import", "imports", "base", "callbacks", "logger"])
        recipe[key] = [f"{folder}/{MODULE}.py", {"name": f"{MODULE}:Net"}]
    else:
        recipe["name"] = chance.choice(["../../x", "/tmp/x", "a\nb\x1b[31m", "", "\0", "x" * 9999])


def an_enormous_recipe(chance: Chance, folder: Path, path: Path) -> None:
    content = good(chance)
    enormous(chance, content["recipe"])
    sealed(content, path)


def a_recipe_that_refers(chance: Chance, folder: Path, path: Path) -> None:
    content = good(chance)
    refer(chance, content["recipe"], folder)
    sealed(content, path)


def ids_and_names(chance: Chance, folder: Path, path: Path) -> None:
    content = good(chance)
    words = ["../../../x", str(folder / CANARY / "x"), "\x1b[2J", "a\nb", "=1+1", "<script>", "x" * 9999, "\0"]
    kind = chance.randrange(4)
    if kind == 0:
        content["run_ids"] = {"wandb": chance.choice(words), "csv": chance.choice(words)}
    elif kind == 1:
        content["data_info"]["class_names"] = [chance.choice(words) for _ in content["data_info"]["class_names"]]
    elif kind == 2:
        content["data_info"]["columns"] = [chance.choice(words), chance.choice(words)]
    else:
        content["hyper_parameters"] = {"_class_path": f"{MODULE}.Net", "network": {"class_path": f"{MODULE}.Net"}}
    sealed(content, path)


def special(chance: Chance, folder: Path, path: Path) -> None:
    target = chance.choice(
        ["/dev/zero", path.name, "nowhere", "/proc/self/mem", folder / CANARY / "a", "pipe", "folder"]
    )
    if target == "pipe":
        os.mkfifo(path)
    elif target == "folder":
        path.mkdir()
    else:
        path.symlink_to(target)


def exported(chance: Chance) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Header and tensors of a good export."""
    content = good(chance)
    header = {key: content[key] for key in ("recipe", "data_info", "preparation")}
    return header, {**content["state_dict"], **content["ema"]["weights"][0]}


def export_text(text: str, path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """An export with a text of our own in its header, and the checksum."""
    checksum = safetensors._digest(text, tensors)
    names = {"genmods": text, files.FORMAT_KEY: str(files.FORMAT), files.CHECKSUM_KEY: checksum}
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path, names)


def an_export_header(chance: Chance, folder: Path, path: Path) -> None:
    words = ["", "null", "[1]", "3", "[" * 10**5, '{"a":' * 10**4, "9" * 9999, '{"recipe": {}}', "{}", "{", '"\\ud800"']
    words += ['{"recipe": ' + "9" * 5000 + "}", '{"a": 1e999}', '{"a": NaN}', '{"recipe": [], "data_info": 3}']
    export_text(chance.choice(words), path, {"a": torch.ones(1)})


def an_export_of_bytes(chance: Chance, folder: Path, path: Path) -> None:
    if chance.random() < 0.4:
        size = chance.choice([0, 2, 10**6, 10**8, 2**62, 2**63])
        path.write_bytes(struct.pack("<Q", size) + chance.randbytes(chance.randint(0, 99)))
        return
    shape, end = (
        chance.choice([[10**9], [10**15, 10**15], [-1], [0], [2**63], [1.5], "x", None]),
        chance.choice([4, -4, 10**12]),
    )
    entry = {"dtype": chance.choice(["F32", "F99", "BOOL", 3]), "shape": shape, "data_offsets": [0, end]}
    metadata = chance.choice(
        [{}, {"__metadata__": {"genmods": "{}"}}, {"__metadata__": [1]}, {"__metadata__": {"a": 3}}]
    )
    text = json.dumps({"a": entry, "b": entry, **metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"0000")


def an_export_that_refers(chance: Chance, folder: Path, path: Path) -> None:
    header, tensors = exported(chance)
    if chance.random() < 0.5:
        refer(chance, header["recipe"], folder)
    else:
        enormous(chance, header["recipe"])
    export_text(json.dumps(header), path, tensors)


def another_format(chance: Chance, folder: Path, path: Path) -> None:
    checkpoint = trained("c") / "run" / "checkpoints" / "last.ckpt"
    if path.suffix == ".safetensors":
        path.write_bytes(
            chance.choice([checkpoint.read_bytes(), pickle.dumps(calls(chance, folder)), b"PK\x03\x04" * 99])
        )
    else:
        save_file({"a": torch.ones(3)}, path)


CHECKPOINTS = {
    "code in an archive": code_in_an_archive,
    "code in a pickle": code_in_a_pickle,
    "opcodes": opcodes,
    "an archive of another kind": archives,
    "not plain data": not_plain,
    "another value": another_value,
    "another value, again": another_value,
    "an enormous recipe": an_enormous_recipe,
    "a recipe that refers elsewhere": a_recipe_that_refers,
    "ids and names": ids_and_names,
    "a special file": special,
    "an export under that name": another_format,
}  # fmt: skip
EXPORTS = {
    "the header of an export": an_export_header,
    "the bytes of an export": an_export_of_bytes,
    "an export that refers elsewhere": an_export_that_refers,
    "a checkpoint under that name": another_format,
    "a special export": special,
}
