"""Weights & Biases artifacts that somebody made to hurt."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path
from typing import Any

from support.artifacts import PLACE, Artifact, entry, manifest
from support.torture import Chance
from support.torture_payloads import CANARY, CHECKPOINTS
from support.torture_runs import trained


def stored(name: str, folder: Path) -> Path:
    """A good checkpoint on the server."""
    place = folder / "server" / "good"
    place.parent.mkdir(exist_ok=True)
    shutil.copyfile(trained(name) / "run" / "checkpoints" / "last.ckpt", place)
    return place


def other_files(chance: Chance, folder: Path) -> Artifact:
    """A good checkpoint beside files that lead out of the folder, or that a command might read."""
    good = stored(chance.choice("cd"), folder)
    evil = folder / "server" / "evil"
    evil.write_text(f"open({str(folder / 'ran')!r}, 'w')")
    names = [
        "../../../ran",
        str(folder / "ran"),
        "genmods/__init__.py",
        "sitecustomize.py",
        "config.json",
        "recipe.yaml",
    ]
    names += ["..\\ran", "C:/ran", "model.ckpt/ran", "model.safetensors", "checkpoints/best.ckpt", "\x1b[2J", "ran\0"]
    files = {name: evil for name in chance.sample(names, 5)} | {"model.ckpt": good}
    entries = {name: entry(file) for name, file in files.items()}
    if chance.random() < 0.3:
        entries |= {f"{k}.png": entry(evil) for k in range(5000)}
    return Artifact(manifest(entries), files)


def references(chance: Chance, folder: Path) -> Artifact:
    """A checkpoint that is a file of this machine, or of another server."""
    good = stored(chance.choice("cd"), folder)
    canary = (folder / CANARY / "a").as_uri()
    addresses = [canary, canary, f"file://localhost{folder}/{CANARY}/a", f"{CANARY}/a", "", "file:///dev/zero"]
    addresses += ["http://127.0.0.1:1/x", "s3://a/b", "gs://a/b", "wandb-artifact://00/model.ckpt", "\0", "//"]
    return Artifact(manifest({"model.ckpt": {**entry(good), "ref": chance.choice(addresses)}}), {"model.ckpt": good})


def other_names(chance: Chance, folder: Path) -> Artifact:
    """No file `model.ckpt`, but one that might be taken for it."""
    good = stored(chance.choice("cd"), folder)
    kinds = ("table", "image-file", "molecule-file", "joined-table")
    names = [*(f"model.ckpt.{kind}.json" for kind in kinds), "model.ckpt/a", "../model.ckpt", "./model.ckpt"]
    names += ["model.ckpt/", "a/../model.ckpt", "MODEL.CKPT", "model.ckpt\0", "/model.ckpt", "", "last.ckpt"]
    name = chance.choice(names)
    return Artifact(manifest({name: entry(good)}), {name: good})


def another_entry(chance: Chance, folder: Path) -> Artifact:
    """An entry whose size, digest or other value is not that of the file."""
    good = stored(chance.choice("cd"), folder)
    upwards = base64.b64encode(f"../../../{CANARY}/a".encode()).decode()
    options: list[dict[str, Any]] = [{"size": size} for size in (0, 1, 10**9, 10**18, 10**4000, -1, 1.5, "x", None, [])]
    options += [{"digest": word} for word in ("", "x", upwards, f"../../{CANARY}/a", "\0", "é", "A" * 99_999, 3, None)]
    options += [{"extra": {"digestAlgorithm": word}} for word in ("MANIFEST_XXH128", "x", 3)]
    options += [{"local_path": str(folder / CANARY / "a")}, {"birthArtifactID": f"../{CANARY}"}, {"path": "../../ran"}]
    options += [{"skip_cache": True}, {"x" * 9999: 1}, {"extra": [[[]]]}, {"extra": 3}]
    return Artifact(manifest({"model.ckpt": {**entry(good), **chance.choice(options)}}), {"model.ckpt": good})


def another_manifest(chance: Chance, folder: Path) -> Artifact:
    """A manifest of another kind."""
    good = entry(stored(chance.choice("cd"), folder))
    texts = ["", "null", "[1]", "[" * 10**5, '{"version":' * 10**4, "9" * 9999, "\0", '{"a": 1e999}', "{}"]
    values: list[Any] = [None, 2, "os.system", [], {"storageLayout": "x"}, {"storageRegion": f"../{CANARY}"}]
    for value in values:
        texts += [manifest({"model.ckpt": good}, **{key: value}) for key in ("version", "storagePolicy", "contents")]
        texts += [manifest({"model.ckpt": good}, storagePolicyConfig=value), manifest({"model.ckpt": value})]
    return Artifact(chance.choice(texts))


def a_broken_server(chance: Chance, folder: Path) -> Artifact:
    """A server that refuses, stops halfway, or answers with a text of its own."""
    import requests
    import wandb

    good = stored(chance.choice("cd"), folder)
    kinds = [requests.HTTPError, requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError]
    error = chance.choice([*kinds, wandb.errors.CommError, ValueError, TypeError, KeyError, RecursionError])
    text = chance.choice(["", "\n", "403 Client Error\nfor url", "\x1b[2J\u202e", "x" * 99_999])
    broken = None if chance.random() < 0.2 else error(text)
    return Artifact(manifest({"model.ckpt": entry(good)}), {"model.ckpt": good}, broken, chance.random() < 0.5)


def a_hostile_checkpoint(chance: Chance, folder: Path) -> Artifact:
    """A checkpoint of any of the kinds that are tried as files; a special file is where it is downloaded to."""
    path = folder / "server" / "x.ckpt"
    path.parent.mkdir()
    CHECKPOINTS[chance.choice(list(CHECKPOINTS))](chance, folder, path)
    if path.is_file() and not path.is_symlink():
        return Artifact(manifest({"model.ckpt": entry(path)}), {"model.ckpt": path})
    (folder / PLACE).parent.mkdir(parents=True)
    os.rename(path, folder / PLACE)
    good = stored(chance.choice("cd"), folder)
    return Artifact(manifest({"model.ckpt": entry(good)}), {"model.ckpt": good})


def a_large_checkpoint(chance: Chance, folder: Path) -> Artifact:
    """Zeros, or a good checkpoint and zeros."""
    path = stored(chance.choice("cd"), folder)
    content = path.read_bytes() if chance.random() < 0.5 else b""
    with path.open("wb") as file:
        file.write(content)
        file.truncate(chance.choice([3 * 10**7, 10**8]))
    return Artifact(manifest({"model.ckpt": entry(path)}), {"model.ckpt": path})


ARTIFACTS = {
    "an artifact with other files": other_files,
    "an artifact that refers elsewhere": references,
    "an artifact without the file": other_names,
    "another entry of an artifact": another_entry,
    "another manifest of an artifact": another_manifest,
    "an artifact of a broken server": a_broken_server,
    "a hostile checkpoint as an artifact": a_hostile_checkpoint,
    "a large checkpoint as an artifact": a_large_checkpoint,
}
