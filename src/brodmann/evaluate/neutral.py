"""Neutral text: what a model should still read well when a capability is erased."""

from importlib.resources import files


def neutral_texts() -> tuple[str, ...]:
    """Return the paragraphs of the bundled neutral text.

    Short plain prose, written for this package: mostly English, a little Chinese; no arithmetic.
    """
    text = files("brodmann.evaluate").joinpath("neutral.txt").read_text(encoding="utf-8")
    return tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())
