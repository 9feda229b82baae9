"""Checkpoints of other versions and runs that go on with another recipe: as they are, told, or refused in one line.

nox -s torture -- skew
"""

import random
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from genmods.core import checkpoint as files
from support.torture import command, copied, main
from support.torture_runs import trained

CHANGES = {
    "c": [
        "--task.network.layers=[conv 6, pool 2, linear 8]", "--task.network=mlp", "--task.label_smoothing=0.2",
        "--task.network.activation=gelu", "--data.batch_size=20", "--data.augment=[flip]", "--data.limit=120",
        "--data.val_fraction=0.2", "--schedule=null",
    ],
    "d": [
        "--task.prediction=eps", "--task.process=linear", "--task.weighting=min_snr", "--task.network.width=16",
        "--task.network.dropout=0.2", "--task.density=log_normal", "--task.conditioning=unconditional",
        "--task.sampler.steps=3", "--data.side=16", "--data.classes=4", "--trainer.accumulate_grad_batches=1",
        "--task.network=dit",
    ],
}  # fmt: skip
BOTH = [
    "--optimizer.lr=0.01", "--optimizer=sgd", "--schedule=constant", "--seed=4", "--callbacks=[]",
    "--callbacks.1.decays=[0.5]", "--trainer.gradient_clip_val=1.0", "--data.num_workers=1", "--trainer.precision=32",
    "--optimizer.weight_decay=0.3", "--trainer.val_check_interval=5", "--trainer.precision=bf16-mixed",
]  # fmt: skip


def old(content: dict, chance: random.Random) -> str:
    """Change the content as another version could have written it; returns what was changed."""
    kind = chance.choice(["format", "missing", "missing", "more", "renamed"])
    if kind == "format":
        content["genmods_format"] = chance.choice([None, 0, 1, 3, 99, "2"])
        return f"format {content['genmods_format']}"
    places = [(content, key) for key in content if key not in ("genmods_format",)]
    places += [(content[block], key) for block in ("recipe", "data_info", "callbacks") for key in content[block]]
    places += [(content["recipe"]["task"], key) for key in content["recipe"]["task"]]
    inside, key = chance.choice(places)
    if kind == "more":
        inside["setting_of_a_later_version"] = 1
    else:
        value = inside.pop(key)
        if kind == "renamed":
            inside[f"{key}_"] = value
    return f"{kind} {key}"


def attack(chance: random.Random, folder: Path) -> str:
    name = chance.choice(["c", "d"])
    run = copied(trained(name) / "run", folder / "runs" / name / "run")
    (folder / "recipe.yaml").write_text((trained(name) / "recipe.yaml").read_text())
    resume = ["fit", "--config", "recipe.yaml", "--quiet", "--ckpt_path", str(run), "--trainer.max_steps=21"]
    if chance.random() < 0.5:
        change = chance.choice(CHANGES[name] + BOTH)
        done = command(*resume, change)
        if fault := done.fault(0, 2):
            return f"{name} {change}: {fault}"
        lines = done.err.splitlines()
        if done.status == 2 and len(lines) != 1:
            return f"{name} {change}: {lines}"
        key = change[2:].split("=")[0].split(".")[-1]
        silent = done.status == 0 and "other settings" not in done.err
        return f"{name} {change}: resumed without a word: {lines}" if silent and key != "precision" else ""
    for path in run.rglob("*.ckpt"):
        if path.name != "last.ckpt":
            path.unlink()
    path = run / "checkpoints" / "last.ckpt"
    content = {**files.load(path), "genmods_format": files.FORMAT}
    what = old(content, chance)
    torch.save({**content, "genmods_checksum": files.digest(content)}, path)
    used = ["generate", "--n", "2", "--out", "o"] if name == "d" else ["export", "--out", "m.safetensors"]
    for words in (resume, [*used, "--ckpt_path", str(run)]):
        done = command(*words)
        if fault := done.fault(0, 2):
            return f"{name} {what}: {words[0]}: {fault}"
        if done.status == 2 and (done.err.count("\n") != 1 or "last.ckpt" not in done.err):
            return f"{name} {what}: {words[0]}: {done.err[:300]!r}"
    return ""


if __name__ == "__main__":
    sys.exit(main("skew"))
