from pathlib import Path

import pytest

from genmods.tracking.names import METRICS, PICTURES, TABLES, direction

TABLE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*METRICS, *PICTURES, *TABLES])
def test_the_documented_table_is_the_table_in_the_code(name):
    assert f"| `{name}` | {(METRICS | PICTURES | TABLES)[name]} |" in TABLE


def test_directions():
    assert direction("val/loss") == direction("val/fid_2k") == "min"
    assert direction("val/acc") == direction("test/psnr") == "max"
    assert direction("train/images_per_s") == "max"
    assert direction("train/lr") == "last"
