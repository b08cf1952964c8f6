"""Settings of Sphinx: `make docs` builds the pages to docs/_build/html."""

import importlib.metadata

project = "segbench"
author = "the authors of segbench"
release = importlib.metadata.version("segbench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "segbench"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88  # longer ones take a line a parameter
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "code"  # docstrings write `name` as Markdown does
