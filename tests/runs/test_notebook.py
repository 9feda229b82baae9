"""A notebook that trains, shows a bar, samples, classifies and trains once more; and a fit within another program."""

import os
import signal
import sys
import threading

import pytest
from lightning.pytorch import Callback

import genmods
from genmods import register

CELLS = """
import signal, numpy, genmods
before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
trainer = {"max_steps": 4, "accelerator": "cpu", "val_check_interval": 2}
data = {"name": "digits", "limit": 64, "batch_size": 32}
###
network = {"name": "unet", "width": 8, "multipliers": [1], "blocks": 1}
task = {"name": "diffusion", "network": network, "process": "cosine", "prediction": "v"}
run = genmods.fit({"name": "images", "task": task, "data": data, "trainer": trainer}, quiet=False)
run
###
run.sample(3, seed=1, steps=2).shape
###
task = {"name": "classification", "network": {"name": "cnn", "layers": ["conv 4", "linear 8"]}}
second = genmods.fit({"name": "classes", "task": task, "data": data, "trainer": trainer}, quiet=False)
(probability,) = second.model.classify([numpy.zeros((8, 8), numpy.uint8)])
probability
###
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
assert run.folder != second.folder and run.steps == second.steps == 4
"""


def test_a_notebook(tmp_path, monkeypatch):
    client, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    kernels = pytest.importorskip("jupyter_client.kernelspec")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setattr(  # this interpreter, whatever kernels are installed
        kernels.KernelSpecManager, "get_kernel_spec", lambda *_: kernels.KernelSpec(argv=ARGV, language="python")
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS.split("###\n")])
    client.NotebookClient(notebook, timeout=600, startup_timeout=600, kernel_name="python3").execute()
    shown = [[output.get("data", {}) for output in cell.outputs] for cell in notebook.cells]
    assert any("4/4" in data.get("text/html", "") and 'max="4"' in data["text/html"] for data in shown[1] if data)
    assert any("Run(" in data.get("text/plain", "") for data in shown[1])
    assert shown[2][-1]["text/plain"] == "torch.Size([3, 1, 8, 8])"
    assert any("4/4" in data.get("text/html", "") for data in shown[3])
    assert "probability" in shown[3][-1]["text/plain"]


ARGV = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


@register("callback", "interrupting")
class Interrupting(Callback):
    """Sends SIGINT to this process in its third step, unless it is None."""

    def __init__(self, at: int = 2) -> None:
        self.at = at

    def on_train_batch_start(self, trainer, *_):
        seen.append([signal.getsignal(number) for number in NUMBERS])
        if trainer.global_step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
seen = []
SMALL = {
    "name": "small",
    "task": {"name": "classification", "network": {"name": "cnn", "layers": ["conv 4", "linear 8"]}},
    "data": {"name": "digits", "limit": 64, "batch_size": 32},
    "trainer": {"max_steps": 3, "accelerator": "cpu"},
}


def test_a_fit_within_another_program_leaves_its_signals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = signal.signal(signal.SIGTERM, lambda *_: None), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        handlers = [signal.getsignal(number) for number in NUMBERS]
        seen.clear()
        genmods.fit(SMALL, callbacks=[{"name": "interrupting", "at": 9}])
        with pytest.raises(KeyboardInterrupt):
            genmods.fit(SMALL, callbacks=["interrupting"])
        assert len(seen) == 6 and all(found == handlers for found in seen)
        assert [signal.getsignal(number) for number in NUMBERS] == handlers
    finally:
        signal.signal(signal.SIGTERM, own[0])
        signal.signal(signal.SIGINT, own[1])


def test_a_fit_in_a_thread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = [signal.getsignal(number) for number in NUMBERS]
    found = []
    thread = threading.Thread(target=lambda: found.append(genmods.fit(SMALL)))
    thread.start()
    thread.join()
    assert found[0].steps == 3 and [signal.getsignal(number) for number in NUMBERS] == before
