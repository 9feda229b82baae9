"""`benchmarks/gpu.py` at toy size: every section measures what it can, with nothing but torch and Lightning."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
ALONE = """
import builtins, json, sys
from pathlib import Path

sys.path[:0] = sys.argv[2:]
ABSENT = "PIL diffusers matplotlib rich safetensors scipy sklearn tifffile timm torchvision wandb".split()
found = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__file__") or ""
    if level == 0 and name.partition(".")[0] in ABSENT and importer.startswith(tuple(sys.argv[2:])):
        raise ModuleNotFoundError(f"{importer} imports {name}")
    return found(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
import torch
from gpu_sections import SECONDS, networks, tests
from gpu_sections.job import Job, measure

torch.set_num_threads(1)
networks.find_spec = lambda name: None
folder = Path(sys.argv[1])
tests.TESTS = folder / "tests"
for section in SECONDS:
    measure(section, Job(folder, toy=True, seconds=1000), lambda line: print(json.dumps(line), flush=True))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """The rows of all sections by section and name, measured at toy size where no optional package can be imported."""
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_marked.py").write_text(
        "import pytest\n"
        "@pytest.mark.gpu\ndef test_right(): pass\n"
        "@pytest.mark.gpu\ndef test_wrong(): assert False\n"
        "@pytest.mark.gpu\n@pytest.mark.skip\ndef test_left_out(): pass\n"
        "def test_unmarked(): assert False\n"
    )
    paths = [str(BENCHMARKS), str(BENCHMARKS.parent / "src")]
    command = [sys.executable, "-c", ALONE, str(folder), *paths]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GENMODS_CACHE": str(folder)})
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {(line["section"], line["row"]): line for line in lines if "row" in line}


def why(row):
    return row.get("not measured", "")


def test_every_row_is_measured_or_gives_a_reason(rows):
    allowed = ("CUDA graphs need a CUDA device", "diffusers is not installed")
    reasons = {name: why(row) for name, row in rows.items() if why(row) and why(row) not in allowed}
    assert not reasons
    assert {section for section, _ in rows} == set(sections())
    for row in rows.values():
        numbers = [value for value in row.values() if isinstance(value, float)]
        assert all(math.isfinite(number) for number in numbers), row


def test_tests_marked_gpu_are_counted(rows):
    row = rows["tests", "pytest -m gpu"]
    assert (row["passed"], row["failed"], row["skipped"], row["failures"]) == (1, 1, 1, "test_wrong")


def test_rows_say_what_the_images_are(rows):
    for section in ("accuracy", "quality"):
        assert all(line["data"].startswith("synthetic") for (name, _), line in rows.items() if name == section)


def sections():
    from gpu_sections import SECONDS

    return SECONDS


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.mark.parametrize("section", ["training", "sampling"])
def test_diffusers_runs_beside_ours(tmp_path, section):
    pytest.importorskip("diffusers")
    from gpu_sections.job import Job, measure

    lines = []
    measure(section, Job(tmp_path, toy=True, seconds=math.inf), lines.append)
    found = {line["row"]: line for line in lines if "row" in line}
    peer, ours = found["toy: diffusers"], found["toy: ours"]
    assert ours["as"] == f"{section}, toy: diffusers"
    assert ours["times as fast"] == pytest.approx(peer["ms"] / ours["ms"], abs=0.02, rel=0.02)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is not measured without a GPU")
def test_without_a_gpu_each_row_is_marked_as_not_measured(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(tmp_path), "--only", "peak"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    machine, *lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert machine["device"] == "cpu" and machine["torch"] == torch.__version__
    assert lines and all(line["not measured"] == "no GPU" for line in lines)
    assert (tmp_path / "table.md").read_text() in done.stdout
    assert f"| {lines[0]['row']} | not measured: no GPU |" in done.stdout


def test_a_section_whose_time_is_up_leaves_its_rows_unmeasured(tmp_path, monkeypatch):
    import gpu

    monkeypatch.setattr(gpu, "MARGIN", 0.0)
    lines = list(gpu.section(argparse.Namespace(out=tmp_path, toy=True), ["peak"], 0.0))
    assert lines == [{"section": "peak", "row": "all", "not measured": "no time left"}]


def test_the_table_has_the_last_line_of_each_row():
    import gpu

    machine = {"section": "machine", "row": "machine", "device": "a GPU", "processor": "a CPU", "torch": "2"}
    first = {"section": "memory", "row": "batch 64", "not measured": "out of memory"}
    later = {"section": "memory", "row": "batch 64", "images/s": 5.0, "GiB": 1.5}
    other = {"section": "memory", "row": "batch 128", "not measured": "out of memory"}
    *_, head, _, row, last = gpu.table(map(json.dumps, [machine, first, later, other])).splitlines()
    assert head == "| memory | images/s | GiB |"
    assert row == "| batch 64 | 5.0 | 1.5 |"
    assert last == "| batch 128 | not measured: out of memory |  |"
