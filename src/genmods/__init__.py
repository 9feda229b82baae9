"""genmods: modular image classifiers and diffusion models on Lightning, composed by recipes.

Public here, imported when first used: `load` (a trained run), `create` and `register` (parts by kind and name). The
packages `genmods.diffusion`, `networks`, `data`, `metrics` and `restoration` work without a trainer or a recipe.
"""

__version__ = "0.1.0"
__all__ = ["__version__", "create", "load", "register"]

_PUBLIC = {"create": "genmods.config.build", "load": "genmods.runs.folders", "register": "genmods.config.registry"}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'genmods' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
