import re
from pathlib import Path

import pytest

import genmods
from genmods.tracking.names import METRICS, PICTURES, TABLES, direction, documented

SOURCES = [path for part in ("tasks", "callbacks") for path in (Path(genmods.__file__).parent / part).glob("*.py")]
TABLE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*METRICS, *PICTURES, *TABLES])
def test_the_documented_table_is_the_table_in_the_code(name):
    assert f"| `{name}` | {(METRICS | PICTURES | TABLES)[name]} |" in TABLE


def test_whatever_a_task_or_callback_logs_is_documented():
    calls = r'\.(?:log|log_mean|metrics)\(\s*\{?f?"([^"]+)"'
    logged = {name for path in SOURCES for name in re.findall(calls, path.read_text(encoding="utf-8"))}
    names = {name.replace("{stage}", "val") for name in logged if not name.startswith("noise/")}
    assert len(names) > 20 and names <= set(METRICS)


def test_directions():
    assert direction("val/loss") == direction("val/fid_2k") == "min"
    assert direction("val/acc") == direction("test/psnr") == "max"
    assert direction("train/images_per_s") == "max"
    assert direction("train/lr") == "last"


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("val/fid_2k", "val/fid_N"),
        ("noise/loss_07", "noise/loss_K"),
        ("test/acc", "val/acc"),
        ("test/ssim", "val/ssim"),
    ],
)
def test_a_logged_name_belongs_to_a_row(name, row):
    assert documented(name) == row
