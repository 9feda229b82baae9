"""Checkpoints from Weights & Biases artifacts that somebody else made."""

import os
from pathlib import Path

import pytest
import requests

from genmods.core import checkpoint as files
from genmods.core.errors import UserError
from genmods.core.system import FullDisk, system_error
from genmods.runs import folders
from support.artifacts import PLACE, REFERENCE, Artifact, entry, manifest


@pytest.fixture
def good(tmp_path, monkeypatch):
    """A checkpoint on the server."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "server").mkdir()
    files.save({"a": 1}, tmp_path / "server" / "good.ckpt")
    return tmp_path / "server" / "good.ckpt"


@pytest.fixture
def serve(good, monkeypatch):
    """Makes an artifact the only one of the server."""
    return lambda artifact: artifact.serve(monkeypatch.setattr, good.parent / "cache")


def test_the_checkpoint_of_an_artifact_and_no_other_file_is_downloaded(good, serve, tmp_path):
    names = ["model.ckpt", "../../evil.py", str(tmp_path / "evil.py"), "sitecustomize.py", "config.json"]
    serve(Artifact(manifest({name: entry(good) for name in names}), {name: good for name in names}))
    assert folders.find_checkpoint(REFERENCE) == PLACE and files.load(PLACE) == {"a": 1}
    assert folders.find_checkpoint(Path(REFERENCE)) == PLACE
    assert [path for path in (tmp_path / "here").rglob("*") if path.is_file()] == [tmp_path / "here" / PLACE]
    with pytest.raises(UserError, match="there is no me/genmods/model-none:best"):
        folders.find_checkpoint("wandb:me/genmods/model-none:best")


@pytest.mark.parametrize("name", ["model.ckpt/a", "../model.ckpt", "MODEL.CKPT", "model.ckpt.table.json", ""])
def test_a_file_of_another_name_is_not_the_checkpoint(good, serve, name):
    serve(Artifact(manifest({name: entry(good)}), {name: good}))
    with pytest.raises(UserError, match=r"^wandb:me/genmods/model-abc:best: the artifact has no file model.ckpt$"):
        folders.find_checkpoint(REFERENCE)
    assert not list(Path().rglob("*"))


@pytest.mark.parametrize("address", ["file:///etc/hosts", "s3://a/b", "wandb-artifact://00/model.ckpt", ""])
def test_a_reference_is_not_followed(good, serve, address):
    """A reference `file://` copies a file of this machine."""
    serve(Artifact(manifest({"model.ckpt": {**entry(good), "ref": address}}), {"model.ckpt": good}))
    with pytest.raises(UserError, match=r"^wandb:.*: model.ckpt must be a file of the artifact, got a reference$"):
        folders.find_checkpoint(REFERENCE)
    assert not list(Path().rglob("*"))


@pytest.mark.parametrize(
    "text", ["", "null", "[" * 10**5, "{}", manifest({}, version=2), manifest({"model.ckpt": {"digest": None}})]
)
def test_another_manifest_is_one_line(serve, text):
    serve(Artifact(text))
    with pytest.raises(UserError, match=r"^wandb:me/genmods/model-abc:best: cannot be downloaded: [^\n]+$"):
        folders.find_checkpoint(REFERENCE)


@pytest.mark.parametrize(
    "error", [requests.ConnectionError(""), requests.HTTPError("403\n\x1b[2J"), TypeError("x" * 9999)]
)
def test_a_broken_download_is_one_line_and_can_be_repeated(good, serve, error):
    whole = Artifact(manifest({"model.ckpt": entry(good)}), {"model.ckpt": good})
    serve(Artifact(whole.manifest, whole.files, broken=error, halfway=True))
    with pytest.raises(UserError, match=r"^wandb:me/genmods/model-abc:best: cannot be downloaded: ") as refusal:
        folders.find_checkpoint(REFERENCE)
    assert str(refusal.value).isprintable() and len(str(refusal.value)) < 2000
    serve(whole)
    assert files.load(folders.find_checkpoint(REFERENCE)) == {"a": 1}


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_refused_before_it_is_downloaded(good, serve):
    serve(Artifact(manifest({"model.ckpt": {**entry(good), "size": 10**18}}), {"model.ckpt": good}))
    with pytest.raises(FullDisk) as refusal:
        folders.find_checkpoint(REFERENCE)
    line = system_error(refusal.value)
    assert f"{PLACE}: No space left on device (1,000,000,000,000,000,000 bytes are needed, " in line
    assert not PLACE.exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_nothing_is_written_through_what_lies_in_the_place_of_the_file(good, serve, tmp_path, kind):
    serve(Artifact(manifest({"model.ckpt": entry(good)}), {"model.ckpt": good}))
    PLACE.parent.mkdir(parents=True)
    (tmp_path / "mine").write_text("mine")
    if kind == "pipe":
        os.mkfifo(PLACE)
    elif kind == "folder":
        PLACE.mkdir()
    else:
        PLACE.symlink_to(tmp_path / "mine" if kind == "link" else "/dev/zero")
    with pytest.raises(UserError, match=f"^{PLACE}: must be a regular file, got a link, folder or device; remove it$"):
        folders.find_checkpoint(REFERENCE)
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    "reference", ["../../x", "me/genmods/..", "a/b/c/d", "", ":best", "./b/c", "a\x1b[2J", "/etc/x:y"]
)
def test_a_name_that_no_artifact_has_is_refused_before_anything_is_asked(monkeypatch, reference):
    monkeypatch.setattr("genmods.tracking.artifacts.why_unreachable", lambda *_: pytest.fail("the server was asked"))
    with pytest.raises(UserError, match=r"^wandb:.*: must be ENTITY/PROJECT/NAME:ALIAS$"):
        folders.find_checkpoint(f"wandb:{reference}")


def test_an_artifact_of_an_unreachable_server_is_one_line_at_once(monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "Api", lambda **_: pytest.fail("it would be asked for half a minute"))
    monkeypatch.setattr("genmods.tracking.artifacts.why_unreachable", lambda *_: "no response")
    with pytest.raises(UserError, match=r"^wandb:me/genmods/model-abc:best: no response$"):
        folders.find_checkpoint("wandb:me/genmods/model-abc:best")
