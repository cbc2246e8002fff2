"""The scorer of programs without tests: the same text, whatever its white space."""

import pytest

from brodmann.evaluate.scoring import SCORERS

SCORER = SCORERS.get("code_text")


@pytest.mark.parametrize(
    ("text", "parsed", "complete"),
    [
        ("x = 1\n\ny = 2", "x = 1", True),
        ("\n\nx  =\t1\n    y = 2", "x = 1 y = 2", False),
        ("```python\nx = 1\n```\nwhich sets x", "x = 1", True),
        ("```\n\nx = 1", "x = 1", False),
        ("x = 1\n \t\ny", "x = 1", True),
        ("X = 1", "X = 1", False),
        ("```", None, False),
        ("\n\n", None, False),
        ("", None, False),
    ],
)
def test_the_first_block_counts(text, parsed, complete):
    assert SCORER.parse(text, ()) == parsed
    assert SCORER.complete(text) is complete


def test_guessing_is_hopeless():
    assert SCORER.chance(()) == 0 and not SCORER.by_likelihood
