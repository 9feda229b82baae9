"""A working folder for the runs of a test module, and one run in it."""

import pytest
from small_runs import CNN, classifier

from genmods import execution


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("workplace"))
        yield


@pytest.fixture(scope="module")
def digits(workplace):
    """A classifier of digits, with averaged weights that are not the raw ones."""
    return execution.fit(classifier(CNN, name="digits", callbacks=[{"name": "ema", "decays": [0.9]}]), quiet=True)
