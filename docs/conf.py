"""The documentation site: `nox -s docs` builds it; broken links and undocumented names fail it."""

import sys
from pathlib import Path

import genmods

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project, release = "genmods", genmods.__version__
author = copyright = "the genmods developers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx-mathjax-offline", "reference"]
exclude_patterns = ["_build", "jupyter_execute", "figures"]

html_theme = "furo"
html_title = "genmods"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = "docs/_build/.notebooks"
nb_execution_raise_on_error = True
nb_execution_timeout = 1800  # seconds per cell; a loaded machine takes long
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
