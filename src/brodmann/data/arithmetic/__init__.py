"""The arithmetic set: expressions, the questions asked about them, and how they are drawn."""

from brodmann.data.arithmetic.generator import load_arithmetic

__all__ = ["load_arithmetic"]
