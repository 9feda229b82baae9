"""All tests share a cache folder that is removed afterwards."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
