"""The batch size `auto`: what fits, found once, written down and kept; out of memory in one line with what fits."""

import pytest
import torch

from genmods.core import checkpoint as files, memory
from genmods.core.batch import INPUT, LABEL
from genmods.core.errors import UserError
from genmods.data.base import Table
from genmods.runs import batch_size, folders
from genmods.runs.evaluate import evaluate
from genmods.runs.fit import fit
from genmods.tasks import ClassificationTask
from support.small_runs import CNN, SHAPES, classifier, recipe
from support.small_tasks import TASKS

pytestmark = pytest.mark.usefixtures("workplace")
AUTO = SHAPES | {"batch_size": "auto", "train_images": 400}


def made(room, monkeypatch, steps=2, data=AUTO, **place):
    monkeypatch.setattr(batch_size, "_room", lambda trainer: room)
    trainer = {"max_steps": steps, "accelerator": "cpu", "enable_progress_bar": False}
    return fit(classifier(CNN, data, name="auto", trainer=trainer), quiet=True, **place)


def size_of(folder):
    return files.load(folder / "checkpoints" / "last.ckpt")["recipe"]["data"]["batch_size"]


def test_it_is_found_once_written_down_and_kept(monkeypatch):
    folder = made(1 << 40, monkeypatch)
    assert size_of(folder) == 16  # a sixteenth of 320 training images, as a power of two
    assert size_of(made(1, monkeypatch, steps=3, ckpt_path=str(folder))) == 16


def test_the_recipe_keeps_it_so_that_a_requeued_job_finds_its_run(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    given = classifier(CNN, AUTO, name="auto")
    folder = fit(given, quiet=True)
    assert (
        given.data.given["batch_size"] == "auto" and folders.finished("auto", given.to_yaml(), anyone=False) == folder
    )
    folders.write_status(folder, "stopped", 2)
    assert fit(given, quiet=True) == folder


def test_an_evaluation_has_the_batch_size_of_the_run(monkeypatch):
    folder = made(1, monkeypatch)
    found = evaluate(classifier(CNN, AUTO, name="auto"), "validate", str(folder), quiet=True)
    assert found.data.batch_size == 1


def test_less_memory_gives_smaller_batches(monkeypatch):
    assert size_of(made(1, monkeypatch)) == 1


class Zeros:
    """A data module of eight images, as far as the estimate looks at it."""

    def __init__(self, name):
        labels = {"multilabel": torch.zeros(8, 3), "regression": torch.zeros(8, 3)}.get(name, torch.zeros(8).long())
        self.splits = {"train": Table({INPUT: torch.zeros(8, 1, 8, 8), LABEL: labels})}

    def prepare(self, batch):
        return batch


@pytest.mark.parametrize(
    "name",
    ["classification", "regression", "diffusion of latents", "gan with R1", "restoration_network without clean images"],
)
def test_the_memory_of_every_task_grows_with_the_batch(name):
    task = TASKS[name]()
    found = batch_size.footprint(task, Zeros(name))
    assert found.per_sample > 4 * 64 and found.fixed >= 4 * sum(p.nbytes for p in task.parameters())
    assert found.fits(found.fixed + 5 * found.per_sample) == 4 and found.fits(0) == 1


def test_out_of_memory_is_one_line_with_what_fits(monkeypatch):
    def refuse(task, batch, index):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000 bytes.")

    monkeypatch.setattr(ClassificationTask, "training_step", refuse)
    line = (
        r"^out of memory at step 1 with data\.batch_size 100 \(peak [\d.]+ GB, [\d.]+ GB in all\); about 50 should fit"
    )
    with pytest.raises(UserError, match=line):
        fit(recipe({"name": "classification", "network": CNN}, name="large"), quiet=True)


V2 = ("0::/job/step", "", "memory.max", "memory.current", "inactive_file")
V1 = ("5:cpu,memory:/job/step", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.mark.parametrize(("line", "root", "limit", "used", "cached"), [V2, V1])
def test_the_limit_of_a_group_counts(monkeypatch, tmp_path, line, root, limit, used, cached):
    """In the process's own group and in those around it, without cached files that are not in use."""

    def write(folder, most, now):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((limit, most), (used, now), ("memory.stat", f"anon 5\n{cached} 700\n")):
            (folder / name).write_text(text)

    (tmp_path / "own").write_text(f"1:cpuset:/job\n{line}\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path / "own")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    assert memory.free_memory() > 10**6
    write(tmp_path / root, "5000", "2000")  # a container, whose group is the root
    assert memory.free_memory() == 3700
    write(tmp_path / root / "job/step", "4000", "2000")
    assert memory.free_memory() == 2700
    (tmp_path / root / "job" / limit).write_text("1000")
    (tmp_path / root / "job" / used).write_text("100")
    assert memory.free_memory() == 900
    for folder in ("", "job", "job/step"):
        (tmp_path / root / folder / limit).write_text("max\n")
    assert memory.free_memory() > 10**6


def test_several_devices_are_refused(monkeypatch):
    changes = {"trainer": {"max_steps": 2, "accelerator": "cpu", "devices": 2}}
    with pytest.raises(UserError, match=r"^data\.batch_size: auto is for one device"):
        fit(classifier(CNN, AUTO, name="two", **changes), quiet=True)
