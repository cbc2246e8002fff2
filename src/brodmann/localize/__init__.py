"""Who carries it: one file per method."""

from brodmann.localize.dcsn import dcsn
from brodmann.localize.locate import METHODS, locate

__all__ = ["METHODS", "dcsn", "locate"]
