"""What is told of a checkpoint that this version cannot use."""

import pytest

from genmods.core.errors import UserError
from genmods.runs.checkpoint import Checkpoint


@pytest.mark.parametrize(
    ("content", "says"),
    [({"state_dict": {}}, "holds no recipe"), ({"recipe": {}, "facts": {}, "state_dict": {}}, "older version")],
)
def test_a_foreign_checkpoint_is_refused(content, says):
    with pytest.raises(UserError, match=says):
        Checkpoint.of(content)
