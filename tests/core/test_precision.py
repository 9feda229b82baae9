"""bfloat16 is taken where the device has it and it is measured to be faster; a device is never made to emulate it."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from genmods.callbacks.precision import settle
from genmods.config.recipe import load
from genmods.config.shipped import shipped
from genmods.core import precision
from genmods.core.devices import default_device
from genmods.core.precision import resolve

CPU = torch.device("cpu")


@pytest.fixture
def device(monkeypatch):
    """A device whose bfloat16 is native or not, and takes so many times as long as a float32 one, or raises."""

    def make(native=True, seconds=1.0, fails=False, delays=()):
        now, delay = [0.0], iter(delays)

        def convolution(*_):
            def run(reduced):
                if reduced and fails:
                    raise NotImplementedError("no kernel")
                now[0] += (seconds if reduced else 1.0) + next(delay, 0.0)

            return run

        monkeypatch.setattr(precision, "native_bfloat16", lambda device: native)
        monkeypatch.setattr(precision, "_convolution", convolution)
        monkeypatch.setattr(time, "thread_time", lambda: now[0])
        monkeypatch.setattr(time, "perf_counter", lambda: now[0])
        return CPU

    return make


@pytest.mark.parametrize(("seconds", "value"), [(0.4, "bf16-mixed"), (0.83, "bf16-mixed"), (0.84, "32-true")])
def test_native_bfloat16_must_be_faster(device, seconds, value):
    choice = resolve("auto", device(seconds=seconds))
    assert choice.value == value
    assert f"{1 / seconds:.1f} times as fast" in choice.reason


def test_an_outlier_does_not_decide(device):
    warm_up, disturbed = [50.0, 0.0, 50.0, 0.0], [9.0, 0.0, 0.0, 0.0, 9.0]
    assert precision.bfloat16_gain(device(seconds=0.5, delays=[*warm_up, *disturbed])) == pytest.approx(2)


def test_without_the_units_nothing_is_measured(device, monkeypatch):
    place = device(native=False, seconds=0.1)
    monkeypatch.setattr(precision, "bfloat16_gain", lambda *_: pytest.fail("measured"))
    assert resolve("auto", place).value == "32-true"


def test_a_failed_trial_means_no_bfloat16(device):
    choice = resolve("auto", device(fails=True))
    assert choice.value == "32-true" and "fail" in choice.reason


def test_a_checkpoint_keeps_its_precision_where_the_device_computes_it(device, monkeypatch):
    place = device(seconds=9.0)
    monkeypatch.setattr(precision, "bfloat16_gain", lambda *_: pytest.fail("measured"))
    assert resolve("auto", place, "bf16-mixed").value == "bf16-mixed"
    assert resolve("auto", place, "32-true").value == "32-true"
    assert resolve("32", place, "bf16-mixed").value == "32-true"
    assert resolve("auto", device(native=False), "bf16-mixed") == (
        "32-true",
        "the checkpoint has bf16-mixed, which cpu does not compute natively",
    )
    assert resolve("auto", place, "16-mixed").value == "32-true"


def test_a_precision_that_is_set_is_taken(device):
    assert resolve("bf16", device(native=False)) == ("bf16-mixed", "as set; cpu only emulates it")
    assert resolve("bf16-mixed", device(seconds=9.0)) == ("bf16-mixed", "as set")
    assert resolve("32", device(seconds=0.1)).value == "32-true"


def test_the_probe_runs_here_and_changes_nothing():
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    gain = precision.bfloat16_gain(default_device())
    assert gain is None or gain > 0
    assert torch.get_num_threads() == threads and torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")
def test_a_cpu_limited_to_avx2_takes_float32():
    limits = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    code = "import torch; from genmods.core.precision import resolve; print(resolve('auto', torch.device('cpu')).value)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | limits, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "32-true", done.stderr


@pytest.mark.parametrize("name", list(shipped()))
def test_shipped_recipes_leave_it_to_the_machine(name):
    assert load(name).trainer.given["precision"] == "auto"


@pytest.mark.parametrize("found", ["cuda", "mps", "xpu", "cpu"])
def test_the_first_accelerator_is_taken(monkeypatch, found):
    order = ["cuda", "mps", "xpu", "cpu"]
    modules = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
    for name, module in modules.items():
        there = order.index(name) >= order.index(found)
        monkeypatch.setattr(module, "is_available", lambda there=there: there)
    assert default_device().type == found


def test_emulation_on_an_older_gpu_does_not_count_as_bfloat16(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for major, native in ((7, False), (8, True)):
        precision.native_bfloat16.cache_clear()
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, m=major: SimpleNamespace(major=m))
        assert precision.native_bfloat16(torch.device("cuda")) is native
    precision.native_bfloat16.cache_clear()


@pytest.mark.parametrize("grouped", [False, True])
def test_the_layers_that_the_model_has_are_measured(monkeypatch, grouped):
    """Depthwise convolutions that take three times as long in bfloat16 decide for a model that has them."""
    clock = [0.0]

    def convolution(device, shape):
        def run(reduced):
            clock[0] += {(False, False): 1, (False, True): 0.4, (True, False): 1, (True, True): 3}[
                shape.groups > 1, reduced
            ]

        return run

    monkeypatch.setattr(precision, "native_bfloat16", lambda device: True)
    monkeypatch.setattr(precision, "_convolution", convolution)
    monkeypatch.setattr(time, "thread_time", lambda: clock[0])
    layers = [nn.Conv2d(8, 8, 3, groups=8)] if grouped else [nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8)]
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    settle(trainer, nn.Sequential(*layers), "auto", None, quiet=True)
    assert trainer.precision == ("32-true" if grouped else "bf16-mixed")
