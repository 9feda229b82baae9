"""What Lightning refuses of the Trainer's settings is one line; what it does not is no business of that line."""

import pytest

from genmods.commands import dispatch
from genmods.errors import UserError
from genmods.training import refusals_in_one_line

CLASSIFICATION = """
task: {name: classification, network: {name: cnn, layers: ["conv 2", "avgpool"]}}
data: {name: digits, limit: 60, batch_size: 20}
trainer: {max_steps: 2, enable_progress_bar: false, accelerator: cpu}
"""


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("val_check_interval=1000", "must be less than or equal to the number of the training batches"),
        ("accelerator=tpu", "torch_xla"),
        ("devices=0", "devices=0"),
        ("strategy=ddpp", "invalid strategy name"),
    ],
)
def test_refused_settings(tmp_path, monkeypatch, capsys, override, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(CLASSIFICATION)
    assert dispatch(["fit", "--config", "recipe.yaml", "--quiet", f"--trainer.{override}"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("trainer: ") and line in error


def test_faults_elsewhere_are_not_hidden():
    with pytest.raises(ValueError, match=r"^no setting$") as error, refusals_in_one_line():
        raise ValueError("no setting")
    assert not isinstance(error.value, UserError)
