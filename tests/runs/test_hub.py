"""Models on the hub, with a local stand-in for its API: push, pull, offline, and each refusal in one line."""

import pytest
import torch

import genmods
from genmods.cli import dispatch
from genmods.core.errors import UserError
from support import hub as stand_in

library = pytest.importorskip("huggingface_hub")
IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub, and a cache and an access token of this machine."""
    from huggingface_hub import constants, hf_api

    with stand_in.serving() as hub:
        address = hub.address
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(hf_api.api, "endpoint", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setenv("HF_TOKEN", stand_in.TOKEN)
        yield hub


@pytest.fixture
def pushed(hub, digits, tmp_path, capsys):
    """The reference of a classifier that was pushed."""
    command = ["export", "--ckpt_path", str(digits), "--out", str(tmp_path / "digits"), "--push", "me/digits"]
    assert dispatch(command) == 0
    return capsys.readouterr().err.strip().removeprefix("pushed: ")


def test_push_and_pull(hub, pushed, digits):
    repository, _, commit = pushed.partition("@")
    assert repository == "hf:me/digits" and hub.private["me/digits"]
    files = hub.commits["me/digits"][commit]
    assert set(files) == {"model.safetensors", "config.json", "README.md"}
    assert b'genmods.load("hf:me/digits")' in files["README.md"]
    hub.requests.clear()
    for reference in (pushed, "hf:me/digits", "hf:me/digits@main"):
        torch.testing.assert_close(genmods.load(reference)(IMAGES), genmods.load(digits)(IMAGES), rtol=0, atol=0)
    assert {request.rpartition("/")[2] for request in hub.requests} == {"config.json", "model.safetensors"}


def test_offline_from_the_cache(hub, pushed, monkeypatch):
    want = genmods.load("hf:me/digits")(IMAGES)
    hub.requests.clear()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for reference in (pushed, "hf:me/digits"):
        torch.testing.assert_close(genmods.load(reference)(IMAGES), want, rtol=0, atol=0)
    assert not hub.requests
    refused("hf:me/other", "cannot be reached, and this model is not in its cache")


def refused(reference, message):
    with pytest.raises(UserError) as error:
        genmods.load(reference)
    assert str(error.value).startswith(f"{reference}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_reported_in_one_line(hub, pushed):
    refused("hf:me/digits@v9", "no such revision")
    refused("hf:me/other@main", "no such repository")
    hub.commits["me/empty"] = {}
    hub.commit("me/empty", {"README.md": b""})
    refused("hf:me/empty", "not a model that genmods exported")
    for reference in ("hf:digits", "hf:", "hf:me/digits@", "hf:me/dig its@main", "hf:me/../x"):
        refused(reference, "expected hf:ORG/NAME@REVISION")


def test_a_refused_token_is_reported_in_one_line(hub, digits, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    command = ["export", "--ckpt_path", str(digits), "--out", str(tmp_path / "digits"), "--push", "me/digits"]
    assert dispatch(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "hf:me/digits: the access token is refused (403)"
    assert (tmp_path / "digits" / "model.safetensors").is_file() and not hub.commits


def test_a_path_is_never_looked_up_online(hub, pushed, digits, tmp_path, monkeypatch):
    hub.requests.clear()
    genmods.load(tmp_path / "digits")
    for path in ("me/digits", "me/digits@main", "./hf:me/digits"):
        with pytest.raises(UserError, match="no such checkpoint"):
            genmods.load(path)
    assert dispatch(["export", "--ckpt_path", str(digits), "--out", str(tmp_path / "other")]) == 0
    assert not hub.requests
