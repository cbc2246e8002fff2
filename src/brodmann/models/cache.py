"""Where converted models are kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``$BRODMANN_CACHE``, else ``$XDG_CACHE_HOME/brodmann``, else ``~/.cache/brodmann``."""
    if given := os.environ.get("BRODMANN_CACHE"):
        return Path(given).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "brodmann"
    return Path.home() / ".cache" / "brodmann"
