"""Which part of the program runs which method of `brodmann locate`."""

from collections.abc import Callable
from importlib import import_module

from brodmann.cli.locate_request import Request
from brodmann.errors import UnknownNameError

MODULES = {
    "dcsn": "locating",
    "cnl": "locating",
    "kn": "locating",
    "tracing": "locating_traces",
    "circuit": "locating_circuits",
    "neft": "locating_neft",
    "lape": "locating_lape",
}


def run(request: Request) -> None:
    """Run the method that was asked for.

    Raises:
        UnknownNameError: there is no such method.
    """
    if request.method not in MODULES:
        raise UnknownNameError("method", request.method, MODULES)
    module = import_module(f"brodmann.cli.{MODULES[request.method]}")
    work: Callable[[Request], None] = module.run
    work(request)
