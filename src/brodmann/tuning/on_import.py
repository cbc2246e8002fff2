"""Make PEFT know neuron tuning from the moment that both PEFT and brodmann are imported.

PEFT finds methods by tables, filled when it is imported, and has no way for others to announce
theirs. Importing it here would cost every ``import brodmann`` seconds, so this waits for whoever
imports PEFT, be it transformers' ``load_adapter``.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from brodmann.errors import BrodmannError, InputError


def register_with_peft() -> None:
    """Register the method now if PEFT is imported, else as soon as it is."""
    if "peft" in sys.modules:
        _register()
    elif not any(isinstance(finder, _AfterPeft) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterPeft())


def check_peft() -> None:
    """Ask for PEFT in one line, before something imports it.

    Raises:
        InputError: it is not installed.
    """
    if "peft" not in sys.modules and find_spec("peft") is None:
        raise InputError(
            "Expected peft, which tuning and adapters need; it is not installed. Run: "
            "pip install 'brodmann[tuning]'"
        )


class _AfterPeft(MetaPathFinder):
    """Finds PEFT as everyone else does, and registers when it has been run."""

    _looking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "peft" or self._looking:
            return None
        self._looking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            # Only asking whether PEFT is there, as transformers does, must not use this up.
            loader: Any = spec.loader
            loader.exec_module = self._then_register(loader.exec_module)
        return spec

    def _then_register(self, run: Any) -> Any:
        def exec_module(module: ModuleType) -> None:
            run(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _register()

        return exec_module


def _register() -> None:
    try:
        import_module("brodmann.tuning.registration").register()
    except (BrodmannError, ImportError, AttributeError) as error:
        # PEFT works without us: its own import must not fail.
        warnings.warn(
            f"brodmann's neuron tuning is not registered with this version of PEFT: {error} Write: "
            "pip install 'peft>=0.21,<0.22'",
            stacklevel=2,
        )
