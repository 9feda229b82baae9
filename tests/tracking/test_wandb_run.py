"""Weights & Biases runs read back from their run files; servers that refuse, keep silent or die."""

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
import types
from pathlib import Path

import pytest
from PIL import Image
from toys import Toy, config, fit, history, loader, read_records, run_files, trainer

from genmods import logs, runs
from genmods.errors import UserError
from genmods.tracking.base import logbook
from genmods.tracking.names import METRICS, direction
from genmods.tracking.probe import api_key, why_unreachable
from genmods.tracking.series import read_series
from genmods.tracking.wandb import WandbRun, remove_superseded

RECIPE = {"seed": 7, "task": {"name": "diffusion", "network": {"name": "unet", "width": 32}}, "data": {"hash": "abc"}}


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))


def offline(folder, run_id=None, resume_step=None, **settings):
    logger = WandbRun(mode="offline", **settings)
    logger.run_id = run_id or logger.run_id
    logger.begin(folder, RECIPE, resume_step)
    return logger


def test_an_offline_run_holds_every_row_and_the_recipe(tmp_path):
    logger = offline(tmp_path, group="g", tags=["t"], notes="n", job_type="train", name="first")
    fit(tmp_path, [logger])
    logger.close()
    (path,) = run_files(tmp_path)
    rows = history(path)
    assert [row["trainer/global_step"] for row in rows] == [1, 3, 5, 7, 9, 11]
    assert [row["_step"] for row in rows] == [1, 3, 5, 7, 9, 11]
    assert all("train/loss" in row for row in rows)
    assert [row["_step"] for row in rows if "val/loss" in row] == [3, 7, 11]
    found = config(path)
    assert {key: found[key] for key in RECIPE} == RECIPE
    run = next(record.run for record in read_records(path) if record.WhichOneof("record_type") == "run")
    assert (run.run_group, list(run.tags), run.notes, run.job_type, run.display_name) == (
        "g",
        ["t"],
        "n",
        "train",
        "first",
    )
    summaries = [r.metric for r in read_records(path) if r.WhichOneof("record_type") == "metric"]
    assert any(metric.name == "val/loss" and metric.summary.min for metric in summaries)


def test_pictures_and_tables_stand_in_the_row_of_their_metrics(tmp_path):
    from lightning.pytorch import Callback

    class Draw(Callback):
        def on_validation_end(self, trainer, module):
            image = Image.new("RGB", (8, 8), (200, 10, 10))
            logbook(trainer).picture("grid", image)
            logbook(trainer).rows("samples/table", ["seed", "image"], [[1, image]])

    logger = offline(tmp_path)
    fit(tmp_path, [logger], callbacks=[Draw()])
    logger.close()
    (path,) = run_files(tmp_path)
    rows = [row for row in history(path) if any(key.startswith("samples/grid") for key in row)]
    assert [row["_step"] for row in rows] == [3, 7, 11]
    assert all("val/loss" in row for row in rows)
    media = sorted((path.parent / "files" / "media" / "images").rglob("*.png"))
    assert len(media) >= 3 and all(Image.open(file).size == (8, 8) for file in media)
    assert list((path.parent / "files" / "media" / "table").rglob("*.json"))
    assert sorted(file.name for file in (tmp_path / "samples").iterdir()) == [
        "step_000004.png",
        "step_000008.png",
        "step_000012.png",
    ]


def test_resume_continues_the_id_and_the_axis(tmp_path):
    first = offline(tmp_path)
    fit(tmp_path, [first], steps=6)
    first.close()
    time.sleep(1.1)
    second = offline(tmp_path, run_id=first.run_id, resume_step=4)
    for step in (5, 7, 9):
        second.log_metrics({"train/loss": 0.1}, step=step)
    second.close()
    files = run_files(tmp_path)
    assert [path.name for path in files] == [f"run-{first.run_id}.wandb"] * 2
    assert [row["_step"] for row in history(files[1])] == [5, 7, 9]


def test_a_late_row_of_an_earlier_step_is_not_dropped(tmp_path):
    logger = offline(tmp_path)
    logger.log_metrics({"train/loss": 1.0}, step=10)
    logger.log_metrics({"test/acc": 0.5}, step=4)
    logger.close()
    assert any(row.get("test/acc") == 0.5 for row in history(run_files(tmp_path)[0]))


def test_checkpoints_become_artifacts_and_data_a_used_one(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("last", "best"):
        (tmp_path / "checkpoints" / f"{name}.ckpt").write_bytes(name.encode())
    logger = offline(tmp_path)
    logger.use_data("digits", "abc", {"images": 10})
    fit(tmp_path, [logger])
    logger.close()
    records = read_records(run_files(tmp_path)[0])
    artifacts = [r.artifact for r in records if r.WhichOneof("record_type") == "artifact"]
    models = [a for a in artifacts if a.type == "model"]
    assert [set(a.aliases) for a in models] == [{"best", "latest"}, {"last", "latest"}]
    assert {a.name for a in models} == {f"model-{logger.run_id}"}
    assert any(a.type == "dataset" and a.use_after_commit for a in artifacts)


def test_directions_of_the_documented_names():
    assert {direction(name) for name in METRICS if name.endswith(("loss", "fid_N", "bpd"))} == {"min"}
    assert direction("val/acc") == direction("val/is_2k") == "max"
    assert direction("train/lr") == "last"


class Server:
    """A server on this machine that answers the probe's question, then what `answer` says."""

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
        "PYTHONPATH": str(Path(__file__).parent),
        "OMP_NUM_THREADS": "1",
    }
    environment |= {"WANDB_BASE_URL": url} if url else {}
    environment |= {"WANDB_API_KEY": key} if key else {}
    command = [sys.executable, str(Path(__file__).parent / "toys.py"), str(folder)]
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
    assert "kept offline" in result.stderr


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
def test_the_key_is_found_where_wandb_finds_it(monkeypatch, tmp_path, machine):
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text(f"machine {machine} login user password secret\n")
    (tmp_path / ".netrc").chmod(0o644)
    assert api_key("http://localhost:8080") == "secret"
    assert api_key("http://elsewhere") is None


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
    assert "no answer" in why_unreachable(Server(answer).url, timeout=0.5)


def test_two_fits_in_one_process_are_two_runs(tmp_path):
    for name in ("a", "b"):
        logger = offline(tmp_path / name)
        trainer(tmp_path / name, [logger], steps=4).fit(Toy(), loader(), loader())
        logger.close()
    assert len(run_files(tmp_path / "a")) == len(run_files(tmp_path / "b")) == 1


class Version:
    """A version of an artifact, as W&B's public API shows it."""

    def __init__(self, *aliases):
        self.aliases, self.deleted = list(aliases), False

    def delete(self):
        assert not self.aliases, "W&B refuses"
        self.deleted = True

    def download(self, root):
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / "model.ckpt").write_bytes(b"weights")
        return root


def test_versions_without_a_name_are_removed():
    versions = [Version(), Version("best"), Version("production"), Version("last", "latest")]
    remove_superseded(versions)
    assert [version.deleted for version in versions] == [True, False, False, False]


def test_a_checkpoint_is_named_by_its_artifact(tmp_path, monkeypatch):
    import wandb

    class Api:
        def __init__(self, **settings):
            pass

        def artifact(self, reference, type):
            if (reference, type) != ("me/genmods/model-abc:best", "model"):
                raise ValueError(f"there is no {reference}")
            return Version()

    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.chdir(tmp_path)
    path = runs.find_checkpoint("wandb:me/genmods/model-abc:best")
    assert path == Path("runs/wandb/model-abc-best/model.ckpt") and path.read_bytes() == b"weights"
    assert runs.find_checkpoint(Path("wandb:me/genmods/model-abc:best")) == path
    with pytest.raises(UserError, match="there is no me/genmods/model-none:best"):
        runs.find_checkpoint("wandb:me/genmods/model-none:best")


def test_an_online_run_uploads_best_and_last_and_removes_what_they_replace(tmp_path, monkeypatch):
    import wandb

    logged, versions = [], [Version(), Version("best")]

    class Run:
        disabled, entity, project = False, "me", "genmods"
        settings = wandb.Settings(base_url="http://somewhere")

        def log_artifact(self, artifact, aliases):
            logged.append((artifact.name, *aliases))
            return types.SimpleNamespace(wait=lambda seconds: None)

    (tmp_path / "checkpoints").mkdir()
    for name in ("last", "best"):
        (tmp_path / "checkpoints" / f"{name}.ckpt").write_bytes(name.encode())
    logger = WandbRun(mode="online")
    logger._experiment = Run()
    monkeypatch.setattr("genmods.tracking.wandb.why_unreachable", lambda *_: None)
    monkeypatch.setattr(wandb, "Api", lambda **_: types.SimpleNamespace(artifacts=lambda *_: versions))
    logger._log_checkpoints(tmp_path / "checkpoints")
    assert logged == [(f"model-{logger.run_id}", "best"), (f"model-{logger.run_id}", "last")]
    assert [version.deleted for version in versions] == [True, False]
    monkeypatch.setattr("genmods.tracking.wandb.why_unreachable", lambda *_: "no answer")
    logger._log_checkpoints(tmp_path / "checkpoints")
    assert len(logged) == 2


def test_evaluations_go_on_in_the_run_with_its_lineage(tmp_path):
    logger = offline(tmp_path, resume_step=12)
    (tmp_path / "last.ckpt").write_bytes(b"weights")
    (tmp_path / "evaluation.json").write_text("{}")
    logger.log_metrics({"test/fid_2k": 3.0}, step=9)
    logger.log_origin(tmp_path / "last.ckpt", [tmp_path / "evaluation.json"])
    logger.close()
    records = read_records(run_files(tmp_path)[0])
    artifacts = [r.artifact for r in records if r.WhichOneof("record_type") == "artifact"]
    assert [(a.type, a.use_after_commit) for a in artifacts] == [("model", True), ("samples", False)]
    (row,) = [row for row in history(run_files(tmp_path)[0]) if "test/fid_2k" in row]
    assert row["trainer/global_step"] == 9 and row["_step"] == 12


def test_an_evaluation_uploads_no_checkpoint_again(tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    logger = WandbRun(mode="offline")
    monkeypatch.setattr(logs, "build_loggers", lambda *_: [logger])
    state = {"recipe": RECIPE, "run_ids": {logger.name: logger.run_id}, "global_step": 3}
    with logs.opened(tmp_path, None, state):
        logger.log_metrics({"test/acc": 0.5}, step=2)
        logger.finalize("success")
    assert not [r for r in read_records(run_files(tmp_path)[0]) if r.WhichOneof("record_type") == "artifact"]
