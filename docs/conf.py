"""Sphinx configuration: MyST pages, the API from the docstrings, the furo theme."""

from importlib import metadata

project = "brodmann"
author = "the brodmann authors"
project_copyright = "the brodmann authors; Apache-2.0"
release = metadata.version("brodmann")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
autodoc_typehints = "none"
nitpicky = False
html_theme = "furo"
html_title = "brodmann"
