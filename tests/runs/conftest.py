"""A working folder for the runs of a test module, and one run in it."""

import pytest

from genmods.runs.fit import fit
from support.small_runs import CNN, classifier


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("workplace"))
        yield


@pytest.fixture(scope="module")
def digits(workplace):
    """A classifier of digits, with averaged weights that are not the raw ones."""
    return fit(classifier(CNN, name="digits", callbacks=[{"name": "ema", "decays": [0.9]}]), quiet=True)
