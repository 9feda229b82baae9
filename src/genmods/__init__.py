"""genmods: modular image classifiers and diffusion models on Lightning, composed by recipes.

`fit` trains a recipe, `load` returns the model of a run, `create` and `register` are for parts by kind and name. The
packages work without a recipe; `diffusion`, `networks`, `models`, `metrics` and `restoration` without a trainer too.
"""

import os
import sys

if sys.argv[:1] == ["-m"] and "genmods" in sys.orig_argv and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]  # `python -m genmods`: no file of the working directory shadows a module of Python

from typing import TYPE_CHECKING

from genmods.core.exports import lazy

if TYPE_CHECKING:
    from genmods import (
        callbacks as callbacks,
        data as data,
        diffusion as diffusion,
        metrics as metrics,
        models as models,
        networks as networks,
        optim as optim,
        restoration as restoration,
        tasks as tasks,
        visual as visual,
    )
    from genmods.config.build import create as create
    from genmods.config.registry import register as register
    from genmods.core.errors import UserError as UserError
    from genmods.runs.folders import load as load
    from genmods.runs.run import Run as Run, fit as fit

__version__ = "0.1.0"
__all__, __getattr__, __dir__ = lazy(__name__)
