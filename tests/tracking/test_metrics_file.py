"""The metrics file: one row per step, new columns, resume, torn lines."""

import multiprocessing
import os
import signal

import pytest

from genmods.config.recipe import from_plain
from genmods.runs.loggers import build_loggers
from genmods.tracking.csv import MetricsFile
from genmods.tracking.series import read_metrics, read_series
from support.toys import fit


def started(folder, **settings):
    logger = MetricsFile()
    logger.begin(folder, {}, **settings)
    return logger


def test_figures_of_one_step_share_a_row(tmp_path):
    logger = started(tmp_path)
    logger.log_metrics({"train/loss": 1.0}, step=0)
    logger.log_metrics({"train/loss": 0.5}, step=9)
    logger.log_metrics({"train/loss": 0.25}, step=9)
    logger.log_metrics({"train/loss": 0.125}, step=19)
    assert (tmp_path / "metrics.csv").read_text() == "step,train/loss\n0,1\n9,0.25\n19,0.125\n"


def test_a_new_column_keeps_the_old_rows(tmp_path):
    logger = started(tmp_path)
    logger.log_metrics({"a": 1}, step=1)
    logger.log_metrics({"b": 2}, step=1)
    logger.log_metrics({"a": 3, "c": 4}, step=2)
    assert (tmp_path / "metrics.csv").read_text() == "step,a,b,c\n1,1,2,\n2,3,,4\n"
    assert read_series(tmp_path / "metrics.csv") == {"a": [(1, 1.0), (2, 3.0)], "b": [(1, 2.0)], "c": [(2, 4.0)]}


def test_resume_drops_what_will_be_written_again(tmp_path):
    logger = started(tmp_path)
    for step in range(6):
        logger.log_metrics({"a": step}, step=step)
    again = started(tmp_path, resume_step=4)
    again.log_metrics({"a": 40}, step=4)
    assert read_series(tmp_path / "metrics.csv")["a"] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40)]


def test_evaluation_later_keeps_every_row(tmp_path):
    logger = started(tmp_path)
    for step in range(3):
        logger.log_metrics({"a": step}, step=step)
    started(tmp_path).log_metrics({"test/acc": 0.9}, step=1)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == ["0", "1", "2"]
    assert read_metrics(tmp_path / "metrics.csv")[1] == {"step": "1", "a": "1", "test/acc": "0.9"}


def test_a_torn_line_is_left_out_and_mended(tmp_path):
    logger = started(tmp_path)
    logger.log_metrics({"a": 1}, step=1)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("2,3.14")
    assert len(read_metrics(tmp_path / "metrics.csv")) == 1
    started(tmp_path, resume_step=2).log_metrics({"a": 2}, step=2)
    assert read_series(tmp_path / "metrics.csv")["a"] == [(1, 1), (2, 2)]


def test_not_a_number_is_kept_in_the_file_and_out_of_the_curves(tmp_path):
    logger = started(tmp_path)
    logger.log_metrics({"a": float("nan")}, step=1)
    assert "nan" in (tmp_path / "metrics.csv").read_text()
    assert read_series(tmp_path / "metrics.csv") == {}


def test_a_fit_writes_every_step_it_should(tmp_path):
    fit(tmp_path, [started(tmp_path)])
    series = read_series(tmp_path / "metrics.csv")
    assert [step for step, _ in series["train/loss"]] == [1, 3, 5, 7, 9, 11]
    assert [step for step, _ in series["val/loss"]] == [3, 7, 11]


def log_and_be_killed(folder):
    logger = started(folder)
    for step in range(50):
        logger.log_metrics({"a": step}, step=step)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_loses_nothing_it_logged(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=log_and_be_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(read_metrics(tmp_path / "metrics.csv")) == 50


def test_a_recipe_that_names_the_file_has_one(tmp_path):
    task = {"name": "classification", "network": "cnn"}
    loggers = build_loggers(from_plain({"task": task, "data": "digits", "logger": [{"name": "csv"}]}), {})
    assert [type(logger) for logger in loggers] == [MetricsFile]
