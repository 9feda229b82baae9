"""Weights & Biases runs read back from their run files."""

import json
import re
import time
import types

import pytest
from PIL import Image

from genmods.cli import dispatch
from genmods.core.errors import UserError
from genmods.data.info import DataInfo
from genmods.runs.checkpoint import Checkpoint
from genmods.runs.loggers import reopened
from genmods.tracking.artifacts import remove_superseded
from genmods.tracking.base import logbook
from genmods.tracking.names import METRICS, direction
from genmods.tracking.wandb import WandbRun
from support.toys import Toy, config, fit, history, loader, read_records, run_files, trainer

RECIPE = {"seed": 7, "task": {"name": "diffusion", "network": {"name": "unet", "width": 32}}, "data": {"hash": "abc"}}


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


def test_versions_without_a_name_are_removed():
    versions = [Version(), Version("best"), Version("production"), Version("last", "latest")]
    remove_superseded(versions)
    assert [version.deleted for version in versions] == [True, False, False, False]


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
    info = DataInfo((1, 8, 8), 10, 0.0, 1.0, 256, [])
    checkpoint = Checkpoint(RECIPE, info, {}, step=3, run_ids={logger.name: logger.run_id})
    with reopened(tmp_path, checkpoint, [logger]):
        logger.log_metrics({"test/acc": 0.5}, step=2)
        logger.finalize("success")
    assert not [r for r in read_records(run_files(tmp_path)[0]) if r.WhichOneof("record_type") == "artifact"]


def test_the_line_that_uploads_names_every_offline_part_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("offline-run-20261128_3-mine", "offline-run-20261128_1-mine", "offline-run-20261128_2-other"):
        (tmp_path / "runs/a/wandb" / name / "files").mkdir(parents=True)
    run = WandbRun()
    run.run_id = "mine"
    run._experiment = types.SimpleNamespace(dir=str(tmp_path / "runs/a/wandb/offline-run-20261128_3-mine/files"))
    parts = [f"runs/a/wandb/offline-run-20261128_{i}-mine" for i in (1, 3)]
    assert run.sync_command == f"wandb sync {' '.join(parts)}"

    run._experiment = types.SimpleNamespace(dir=str(tmp_path / "runs/a/wandb/run-20261128_4-mine/files"))
    parts.append("runs/a/wandb/run-20261128_4-mine")
    assert run.sync_command == f"wandb sync --include-online {' '.join(parts)}"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"project": "a/b"}, "project must be without / \\ # ? % :, got 'a/b'"),
        ({"project": "50%"}, "got '50%'"),
        ({"project": ""}, "got ''"),
        ({"project": "x" * 129}, "project must be 1 to 128 "),
        ({"entity": "my team"}, "entity must be without space and / "),
        ({"group": "a\nb"}, "group must be 1 to 128 printable"),
        ({"job_type": " a"}, "no space at the ends"),
        ({"group": "g" * 200}, "group must be 1 to 128 "),
        ({"job_type": ""}, "job_type must be 1 to 128 "),
        ({"tags": ["fine", "t" * 65]}, "tags[1] must be 1 to 64 "),
        ({"tags": [""]}, "tags[0] must be 1 to 64 "),
    ],
)
def test_what_the_server_refuses_is_refused_before_training_and_by_check(settings, told, tmp_path, capsys):
    with pytest.raises(ValueError, match=re.escape(told)):
        WandbRun(**settings)
    recipe = {
        "task": {"name": "classification", "network": "cnn"},
        "data": "digits",
        "logger": {"name": "wandb", **settings},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    assert dispatch(["check", str(tmp_path / "r.yaml")]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("run_id", ["a/b", " ", "x" * 65, "a:b", "é", "a\n"])
def test_an_id_of_a_sweep_that_cannot_be_one(run_id, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", run_id)
    with pytest.raises(UserError, match=r"WANDB_RUN_ID\) must have 1 to 64 letters"):
        WandbRun()
