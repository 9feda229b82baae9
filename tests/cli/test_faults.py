"""Every kind of faulty recipe or command: one line with file, line and key path, exit status 2, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from genmods.cli import dispatch
from genmods.config import registry

GOOD = """\
seed: 7
task:
  name: diffusion
  network: {name: unet, width: 32}
  process: cosine
  prediction: v
  sampler: {name: ddim, steps: 50}
data: {name: digits, batch_size: 128, augment: [flip]}
optimizer: {name: adamw, lr: 1e-3}
trainer: {max_steps: 4000, precision: bf16-mixed}
"""

# name: (text to replace, its replacement, the message after `file:`)
FAULTS = {
    "misspelled part": ("unet", "unett", "4: task.network.name: no network is called 'unett'; did you mean 'unet'?"),
    "misspelled short form": (
        "cosine",
        "cosin",
        "5: task.process: no process is called 'cosin'; did you mean 'cosine'?",
    ),
    "misspelled key": (
        "width",
        "widht",
        "4: task.network.widht: the network 'unet' has no setting 'widht'; did you mean 'width'?",
    ),
    "misspelled key of the data module": (
        "batch_size",
        "batchsize",
        "8: data.batchsize: the data 'digits' has no setting 'batchsize'; did you mean 'batch_size'?",
    ),
    "misspelled section": (
        "trainer",
        "trainr",
        "10: trainr: a recipe has no section 'trainr'; did you mean 'trainer'?",
    ),
    "misspelled trainer setting": (
        "max_steps",
        "maxsteps",
        "10: trainer.maxsteps: the trainer has no setting 'maxsteps'; did you mean 'max_steps'?",
    ),
    "case": ("name: unet", "name: UNet", "4: task.network.name: no network is called 'UNet'; did you mean 'unet'?"),
    "text for a number": ("width: 32", "width: wide", "4: task.network.width: width must be an int, got 'wide'"),
    "fraction for a number": ("width: 32", "width: 32.5", "4: task.network.width: width must be an int, got 32.5"),
    "true for a number": ("width: 32", "width: true", "4: task.network.width: width must be an int, got true"),
    "null for a number": ("width: 32", "width: null", "4: task.network.width: width must be an int, got null"),
    "list for a number": ("width: 32", "width: [32]", "4: task.network.width: width must be an int, got a list"),
    "octal": ("width: 32", "width: 010", "4: task.network.width: width must be an int, got '010'"),
    "sexagesimal": ("width: 32", "width: 12:30:45", "4: task.network.width: width must be an int, got '12:30:45'"),
    "on for true": (
        "max_steps: 4000",
        "detect_anomaly: on",
        "10: trainer.detect_anomaly: detect_anomaly must be true or false, got 'on'",
    ),
    "wrong choice": ("bf16-mixed", "bf17", "10: trainer.precision: precision must be "),
    "wrong item": (
        "width: 32",
        "multipliers: [1, b]",
        "4: task.network.multipliers[1]: multipliers[1] must be an int, got 'b'",
    ),
    "missing part": ("  process: cosine\n", "", "2: task: the task 'diffusion' requires `process`: a process"),
    "missing name": ("name: unet, ", "", "4: task.network: requires a `name`; choose from "),
    "missing section": ("data:", "name: x #", "data: the section is missing"),
    "a sampler for a network": (
        "unet",
        "ddim",
        "4: task.network.name: no network is called 'ddim'; 'ddim' is of the kind sampler",
    ),
    "a number for a part": ("cosine", "3", "5: task.process: process must be a process, got 3"),
    "a list for a part": ("cosine", "[cosine]", "5: task.process: process must be a process, got a list"),
    "a text for a section": (
        "{max_steps: 4000, precision: bf16-mixed}",
        "fast",
        "10: trainer: trainer must be a block",
    ),
    "steps below -1": ("4000", "-2", "10: trainer.max_steps: max_steps must be at least -1, got -2"),
    "sampler steps below -1": ("steps: 50", "steps: -2", "7: task.sampler.steps: "),
    "no batch": ("batch_size: 128", "batch_size: 0", "8: data.batch_size: batch_size must be at least 1, got 0"),
    "share above 1": (
        "  prediction: v",
        "  prediction: v\n  conditioning: {name: class_labels, drop: 2}",
        "7: task.conditioning.drop: drop must be at most 1, got 2",
    ),
    "negative seed": ("seed: 7", "seed: -7", "1: seed: seed must be an int from 0 to"),
    "word for a seed": ("seed: 7", "seed: seven", "1: seed: seed must be an int, got 'seven'"),
    "duplicate key": ("  prediction: v", "  process: linear", "6: task.process: duplicate key, first at "),
    "bad YAML": ("{name: ddim", "{name: ddim: 3", "7: is not valid YAML: "),
    "tab": ("  process", "\tprocess", "5: is not valid YAML: "),
    "class_path": (
        "name: unet",
        "class_path: os.system",
        "4: task.network.class_path: a recipe names registered parts only",
    ),
    "tag": ("width: 32", "width: !!python/object/apply:os.getcwd []", "4: task.network.width: the tag "),
    "anchor": ("cosine", "&a cosine", "5: task.process: anchors and aliases (& and *) are not supported"),
    "from with settings": (
        "name: unet",
        "from: runs/x",
        "4: task.network.width: must not be combined with `from`",
    ),
    "two documents": ("data:", "---\ndata:", "8: must contain one document, got more"),
    "key that is no word": ("seed: 7", "[a]: 7", "1: keys must be strings"),
    "setting of the recipe's own": (
        "4000",
        "4000, logger: true",
        "10: trainer.logger: cannot be set: it is a separate section",
    ),
    "depth": ("width: 32", "width: " + "[" * 60 + "]" * 60, "is nested deeper than "),
}


def one_line(capsys, *arguments: str) -> str:
    """The output of a faulty command: one line on stderr, nothing on stdout, status 2."""
    status = dispatch(list(arguments))
    told = capsys.readouterr()
    assert (status, told.out) == (2, "")
    assert told.err.endswith("\n") and told.err.count("\n") == 1, told.err
    assert "Traceback" not in told.err
    return told.err


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "faulty.yaml"
    path.write_text(GOOD)
    return path


def test_the_sound_recipe_is_in_order(recipe, capsys):
    assert dispatch(["check", "faulty.yaml"]) == 0
    assert capsys.readouterr().out == "faulty.yaml: OK\n"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_recipe_is_one_line(fault, recipe, capsys):
    old, new, told = FAULTS[fault]
    assert old in GOOD
    recipe.write_text(GOOD.replace(old, new, 1))
    line = one_line(capsys, "check", "faulty.yaml")
    assert line.startswith("faulty.yaml:") and told in line, line
    assert one_line(capsys, "fit", "--config", "faulty.yaml") == line


OVERRIDES = {
    "--task.network.widht=3": "command line: task.network.widht: the network 'unet' has no setting 'widht'",
    "--task.network.width=wide": "command line: task.network.width: width must be an int, got 'wide'",
    "--task.network.name=unett": "command line: task.network.name: no network is called 'unett'",
    "--trainr.max_steps=3": "command line: trainr: a recipe has no section 'trainr'; did you mean 'trainer'?",
    "--trainer.max_steps=-2": "command line: trainer.max_steps: max_steps must be at least -1, got -2",
    "--trainer.max_steps.x=3": "command line: trainer.max_steps: must be a block of settings, got 4000",
    "--data.augment.3=flip": "command line: data.augment.3: expected an index below 1, got '3'",
    "--task.network.width=[1": "command line: task.network.width: is not valid YAML",
    "--trainer.max_steps": "command line: trainer.max_steps: requires a value",
    "--=3": "command line: expected --KEY=VALUE, got '--=3'",
    "stray": "command line: 'stray' is neither an option nor an override --KEY=VALUE",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_faulty_override_is_one_line(override, recipe, capsys):
    line = one_line(capsys, "check", "faulty.yaml", override)
    assert line.startswith(OVERRIDES[override]), line


@pytest.mark.parametrize("setting", ["amsgrad=true --optimizer.fused=true --optimizer.foreach=true"])
def test_what_an_optimizer_refuses_is_one_line_and_leaves_no_run(setting, recipe, capsys, tmp_path):
    overrides = f"--optimizer.{setting}".split()
    line = one_line(capsys, "fit", "--config", "faulty.yaml", *overrides, "--trainer.max_steps=1")
    assert line.startswith("faulty.yaml:9: optimizer: ")
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").rglob("*.yaml"))


def test_files_that_are_not_recipes(recipe, tmp_path, capsys):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "list.yaml").write_text("- a\n- b\n")
    (tmp_path / "nul.yaml").write_bytes(b"seed: \x00\n")
    (tmp_path / "large.yaml").write_bytes(b"#" * 2_000_000)
    (tmp_path / "folder.yaml").mkdir()
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(
        f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (tmp_path / "bomb.yaml").write_text(bomb)
    for name, told in {
        "empty": "empty.yaml: is empty",
        "binary": "binary.yaml: not text in UTF-8",
        "list": "list.yaml:1: a recipe is a block of sections",
        "nul": "nul.yaml: is not valid YAML",
        "large": "large.yaml: larger than",
        "folder": "folder.yaml: is a folder",
        "bomb": "bomb.yaml:1: a: anchors and aliases",
        "missing": "missing.yaml: no such file or shipped recipe",
    }.items():
        assert one_line(capsys, "check", f"{name}.yaml").startswith(told)


def test_faulty_commands(recipe, capsys):
    assert "unknown command 'chekc'; did you mean 'check'?" in one_line(capsys, "chekc", "x")
    assert "unknown command 'ltsi'" in one_line(capsys, "ltsi")
    assert "required: RECIPE" in one_line(capsys, "check")
    assert "required: --config" in one_line(capsys, "fit")
    assert "unknown option '--knid'" in one_line(capsys, "list", "--knid")
    assert "no kind of part is called 'netwrok'; did you mean 'network'?" in one_line(capsys, "list", "netwrok")
    assert "no network is called 'unett'; did you mean 'unet'?" in one_line(capsys, "show", "network", "unett")
    assert "did you mean 'ddpm'?" in one_line(capsys, "check", "dppm")


def test_a_misspelt_option_is_not_taken_for_a_section(recipe, capsys):
    fit = ("fit", "--config", "faulty.yaml")
    assert "unknown option '--ckpt-path'; did you mean '--ckpt_path'?" in one_line(capsys, *fit, "--ckpt-path", "last")
    assert "unknown option '--quite'; did you mean '--quiet'?" in one_line(capsys, *fit, "--quite")
    assert "unknown option '--trainr'; did you mean '--trainer'?" in one_line(capsys, *fit, "--trainr={max_steps: 3}")


def test_ctrl_c_is_status_130_also_where_lightning_took_it(monkeypatch, capsys):
    def interrupted(_):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr("genmods.cli._dispatch", interrupted)
    assert dispatch([]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    monkeypatch.setattr("genmods.cli._dispatch", lambda _: sys.exit(143))
    with pytest.raises(SystemExit, match="143"):
        dispatch([])


def test_faulty_files_of_own_parts(recipe, tmp_path, capsys):
    (tmp_path / "exits.py").write_text("raise SystemExit(0)")
    (tmp_path / "fails.py").write_text("import genmods\n1 / 0\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "takes.py").write_text("import genmods\n@genmods.register('network', 'unet')\nclass A: pass\n")
    (tmp_path / "kind.py").write_text("import genmods\n@genmods.register('netwrok', 'a')\nclass A: pass\n")
    for name, told in {
        "exits": "SystemExit: 0",
        "fails": "ZeroDivisionError: division by zero",
        "syntax": "SyntaxError: invalid syntax",
        "takes": "takes the name of a built-in",
        "kind": "no kind of part is called 'netwrok'; did you mean 'network'?",
        "none": "no such file 'none.py'",
    }.items():
        line = one_line(capsys, "check", "faulty.yaml", "--import", f"{name}.py")
        assert line.startswith("--import: ") and told in line, line
    (tmp_path / "own parts.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_imported", {})
        for _ in range(2):
            assert dispatch(["check", "faulty.yaml", "--import", "own parts.py"]) == 0
        assert registry.imports() == ["--import", "own parts.py"]


@pytest.mark.parametrize("arguments", [["check", "faulty.yaml"], ["fit", "--config=faulty.yaml"], ["chekc"]])
def test_the_process_exits_with_status_2_and_imports_nothing_heavy(arguments, recipe):
    recipe.write_text(GOOD.replace("unet", "unett"))
    code = "import sys, genmods.cli as c; status = c.dispatch(sys.argv[1:]); "
    code += "assert 'torch' not in sys.modules; sys.exit(status)"
    for start in (["-m", "genmods"], ["-c", code]):
        env = {**os.environ, "COLUMNS": "40"}
        result = subprocess.run(
            [sys.executable, *start, *arguments], capture_output=True, text=True, env=env, timeout=300
        )
        assert result.returncode == 2
        assert result.stdout == "" and result.stderr.count("\n") == 1, result.stderr
