"""TensorBoard and MLflow: a fit, a resumed fit and an evaluation, read back from their files."""

import pytest

from genmods.cli import dispatch
from genmods.tracking.series import read_series

RECIPE = """
task: {name: classification, network: {name: cnn, layers: ["conv 4", "linear 8"]}}
data: {name: digits, limit: 100, batch_size: 50}
trainer: {max_steps: 4, log_every_n_steps: 1, val_check_interval: 2, accelerator: cpu}
callbacks: [mistakes]
"""


def three_commands(folder, logger):
    (folder / "small.yaml").write_text(f"{RECIPE}logger: {logger}\n")
    assert dispatch(["fit", "--config", "small.yaml", "--quiet"]) == 0
    more = ["fit", "--config", "small.yaml", "--quiet", "--ckpt_path", "last", "--trainer.max_steps=6"]
    assert dispatch(more) == 0
    (run,) = (folder / "runs/small").iterdir()
    assert dispatch(["evaluate", "--ckpt_path", str(run), "--metrics", "knn", "--quiet"]) == 0
    return run


def test_tensorboard_has_the_rows_the_pictures_and_the_recipe(tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    run = three_commands(tmp_path, "tensorboard")
    events = accumulator.EventAccumulator(str(run / "tensorboard"), {"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    series = read_series(run / "metrics.csv")
    for name, points in series.items():
        found = {event.step: event.value for event in events.Scalars(name)}  # Lightning logs an epoch more than once
        assert found == pytest.approx(dict(points), rel=1e-6), name
    assert [event.step for event in events.Images("samples/worst")] == [1, 3, 5]
    assert "cnn" in str(events.Tensors("recipe/text_summary")[0])


def test_mlflow_has_the_rows_the_pictures_and_the_recipe(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    monkeypatch.chdir(tmp_path)
    run = three_commands(tmp_path, "{name: mlflow, experiment: mine}")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["data/batch_size"] == "50" and found.data.params["task/network/name"] == "cnn"
    for name, points in read_series(run / "metrics.csv").items():
        history = client.get_metric_history(found.info.run_id, name)
        assert {metric.step: metric.value for metric in history} == pytest.approx(dict(points), rel=1e-6), name
    paths = {file.path for folder in ("", "samples") for file in client.list_artifacts(found.info.run_id, folder)}
    assert {"recipe.yaml", "samples/worst_000002.png", "samples/worst_000006.png"} <= paths
