"""The tests marked `gpu`, in a separate process: how many passed, failed and were skipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from gpu_sections.job import Figures, Job, NotMeasured

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
MARKED = re.compile(r"^\s*(@|pytestmark\b.*)pytest\.mark\.gpu\b", re.MULTILINE)


def rows(job: Job) -> dict[str, Callable[[], Figures]]:
    return {"pytest -m gpu": partial(marked, job)}


def marked(job: Job) -> Figures:
    """Runs them from the files that name the mark: to collect the whole suite would take longer than the tests."""
    if find_spec("pytest") is None:
        raise NotMeasured("pytest is not installed")
    files = sorted(str(path) for path in TESTS.rglob("*.py") if MARKED.search(path.read_text(encoding="utf-8")))
    if not files:
        raise NotMeasured("no test is marked gpu")
    report = job.folder / "tests.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}", *files]
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, cwd=TESTS.parent, env={**os.environ, "PYTHONPATH": path}, stdout=sys.stderr)
    if not report.exists():
        raise NotMeasured("pytest ended without a report")
    return counted(ElementTree.parse(report).getroot())


def counted(report: ElementTree.Element) -> Figures:
    """The counts of a JUnit report, and the names of those that failed."""
    cases = list(report.iter("testcase"))
    failed = [case.get("name", "?") for case in cases if {"failure", "error"} & {part.tag for part in case}]
    skipped = sum(any(part.tag == "skipped" for part in case) for case in cases)
    passed = len(cases) - len(failed) - skipped
    return {"passed": passed, "failed": len(failed), "skipped": skipped, "failures": ", ".join(failed)}
