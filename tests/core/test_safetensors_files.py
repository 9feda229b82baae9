"""Files of safetensors that cannot be written: the error of the system, and nothing that is left behind."""

import errno
import resource

import pytest
import torch

from genmods.core import safetensors


def test_a_file_that_the_system_refuses_is_an_error_with_number_and_path(tmp_path):
    path, limits = tmp_path / "m.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"m\.safetensors") as caught:
            safetensors.save({}, {"weight": torch.zeros(10_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG and not list(tmp_path.iterdir())
    safetensors.save({}, {"weight": torch.zeros(10_000)}, path)
    assert safetensors.load(path)[1]["weight"].shape == (10_000,)
