"""Weights & Biases servers that refuse, keep silent or die: the run is kept offline, and nothing is lost."""

import base64
import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from genmods.tracking.probe import api_key, why_unreachable
from genmods.tracking.series import read_series
from support.toys import history, run_files


class Server:
    """A server on this machine whose responses `answer` writes, given the number of the request."""

    def __init__(self, answer):
        outer = self
        outer.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                outer.requests += 1
                answer(self, outer.requests)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"


def say(handler, status, body):
    data = json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


VIEWER = {"data": {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}}


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def silent():
    """A port that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def train_against(url, folder, key="k" * 40):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | {
        "NETRC": str(folder / "none"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
    }
    environment |= {"WANDB_BASE_URL": url} if url else {}
    environment |= {"WANDB_API_KEY": key} if key else {}
    command = [sys.executable, "-m", "support.toys", str(folder)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
    )


STEPS = [1, 3, 5, 7, 9, 11]


def complete(folder):
    """Whether a run file holds every row; a start that failed leaves an empty one beside it."""
    return any([row["_step"] for row in history(file) if "train/loss" in row] == STEPS for file in run_files(folder))


def test_no_key_and_no_terminal(tmp_path):
    result = train_against(None, tmp_path, key=None)
    assert result.returncode == 0, result.stderr
    assert complete(tmp_path)
    assert "no API key" in result.stderr and "wandb sync" in result.stderr


def test_a_server_that_refuses(tmp_path):
    result = train_against(f"http://127.0.0.1:{closed_port()}", tmp_path)
    assert result.returncode == 0, result.stderr
    assert complete(tmp_path)


def test_a_server_that_never_answers(tmp_path, silent):
    result = train_against(silent, tmp_path)
    assert result.returncode == 0, result.stderr
    assert complete(tmp_path)
    assert "logging this run offline" in result.stderr


def test_a_server_that_dies_after_the_probe(tmp_path):
    def answer(handler, count):
        if count == 1:
            say(handler, 200, VIEWER)
        else:
            threading.Event().wait()

    result = train_against(Server(answer).url, tmp_path)
    assert result.returncode == 0, result.stderr
    assert complete(tmp_path)


BUCKET = {"id": "b", "name": "x", "displayName": "x", "config": "{}", "historyLineCount": 0}
BUCKET |= {"project": {"id": "p", "name": "genmods", "entity": {"id": "e", "name": "me"}}}


@pytest.mark.parametrize("death", ["silence", "crash"])
def test_a_server_that_dies_in_the_middle(tmp_path, death):
    """It lets the run start, and at the first upload falls silent for good; an empty answer there makes W&B's own
    process crash."""
    silence, dead = threading.Event(), []

    def answer(handler, count):
        if dead:
            silence.wait()
        elif b"viewer" in handler.body:
            say(handler, 200, VIEWER)
        elif b"UpsertBucket" in handler.body:
            say(handler, 200, {"data": {"upsertBucket": {"bucket": BUCKET, "inserted": True}}})
        else:
            if death == "silence" and ("file_stream" in handler.path or b"CreateRunFiles" in handler.body):
                dead.append(True)
                silence.wait()
            say(handler, 200, {"data": {}})

    result = train_against(Server(answer).url, tmp_path)
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.glob("wandb/offline-*"))
    assert [step for step, _ in read_series(tmp_path / "metrics.csv")["train/loss"]] == STEPS
    assert "wandb sync" in result.stderr
    assert complete(tmp_path) or death == "crash"


@pytest.mark.parametrize("machine", ["localhost:8080", "localhost"])
def test_the_key_is_found_where_wandb_finds_it(monkeypatch, tmp_path, machine, capsys):
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text(f"machine {machine} login user password secret\n")
    (tmp_path / ".netrc").chmod(0o644)
    assert api_key("http://localhost:8080") == "secret"
    assert api_key("http://elsewhere") is None
    (tmp_path / ".netrc").write_text("machine localhost key secret\n")
    assert api_key("http://localhost:8080") is None
    assert capsys.readouterr().err.startswith("the API key cannot be read: ")


@pytest.mark.parametrize(("status", "body"), [(401, {}), (200, {"data": {"viewer": None}}), (200, [])])
def test_a_refused_key_is_a_reason(monkeypatch, status, body):
    server = Server(lambda handler, _: say(handler, status, body))
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert why_unreachable(server.url)


def test_the_probe_sends_the_key_and_is_content(monkeypatch):
    seen = []

    def answer(handler, _):
        seen.append(handler.headers["Authorization"])
        say(handler, 200, VIEWER)

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert why_unreachable(Server(answer).url) is None
    assert base64.b64decode(seen[0].split()[1]) == b"api:" + b"x" * 40


def test_a_trickling_server_ends_in_time(monkeypatch):
    def answer(handler, _):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(100):
                handler.wfile.write(b" ")
                time.sleep(0.05)

    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert "no response" in why_unreachable(Server(answer).url, timeout=0.5)
