import pytest
from hypothesis import given
from hypothesis import strategies as st

from brodmann.errors import UnknownNameError
from brodmann.evaluate.scoring import (
    SCORERS,
    choice,
    integer,
    integer_is_complete,
    line,
    line_is_complete,
    number,
    number_is_complete,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 21", "21"),
        ("21\n4*5=20", "21"),
        (" The answer is 21.", "21"),
        ("-7", "-7"),
        (" −7", "-7"),  # U+2212
        ("＝－7", "-7"),
        ("5-3", "5"),
        ("x-3", "3"),
        ("+3", "3"),
        ("007", "7"),
        ("1,234,567 apples", "1234567"),
        ("1,23", "1"),
        ("12,3456", "12"),
        ("$40", "40"),
        ("7.0", "7"),
        ("7.5", None),
        ("3.", "3"),
        ("none", None),
        ("", None),
        ("答案是12。", "12"),
    ],
)
def test_integer(text, expected):
    assert integer(text) == expected


@given(st.integers(-(10**12), 10**12))
def test_integer_reads_what_python_writes(value):
    assert integer(f" {value}\n") == integer(f"{value:,}") == str(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("12", False),
        ("12 ", True),
        ("12\n", True),
        ("12,", False),
        ("12,3", False),
        ("12, ", True),
        ("12,345", False),
        ("12,345.", False),
        ("12.", False),
        ("12. ", True),
        ("-", False),
        ("is", False),
    ],
)
def test_integer_is_complete(text, expected):
    assert integer_is_complete(text) is expected


@given(st.text(alphabet="0123456789,.-$ xa\n", max_size=8), st.text("0123456789,. x", max_size=5))
def test_what_is_complete_never_changes(text, more):
    if integer_is_complete(text):
        assert integer(text + more) == integer(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He has 3 and 4, so 7.", "7"),
        ("3 + 4 = 7\n#### 7\n", "7"),
        ("#### 1,000 dollars, 3 left", "1000"),
        ("#### $18.00", "18"),
        ("####", None),
        ("It costs $18.50.", "18.5"),
        ("18.0", "18"),
        ("0.50", "0.5"),
        ("-0", "0"),
        ("It is 5.\n\nQ: What is 8 + 9?", "5"),
        ("5\n问题：8和9", "5"),
        ("nothing", None),
    ],
)
def test_number(text, expected):
    assert number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7 and 8.", False),
        ("#### 18", False),
        ("#### 18\n", True),
        ("####\n", False),
        ("It is 5.\n\nQuestion:", True),
    ],
)
def test_number_is_complete(text, expected):
    assert number_is_complete(text) is expected


def test_line():
    assert line(" \n  Paris \nLondon") == line("PARIS") == "paris"
    assert line(" \n ") is None
    assert line("Straße") == line("STRASSE")
    assert not line_is_complete("\n Paris")
    assert line_is_complete(" Paris\n")


@pytest.mark.parametrize(
    ("text", "choices", "expected"),
    [
        (" B", "ABCD", "B"),
        ("(b) 12", "ABCD", "B"),
        ("Because", "ABCD", None),
        ("B.", "ABCD", "B"),
        ("12", "ABCD", None),
        ("yes, it is", ("Yes", "No"), "Yes"),
        ("Nothing", ("Yes", "No"), None),
        ("是的", ("是", "否"), "是"),
        ("very good", ("very", "very good"), "very good"),
        ("", ("Yes", "No"), None),
    ],
)
def test_choice(text, choices, expected):
    assert choice(text, tuple(choices)) == expected


def test_chance():
    assert SCORERS.get("choice").chance(("a", "b", "c", "d")) == 0.25
    assert SCORERS.get("integer").chance(()) == 0.0


def test_unknown_scorer():
    with pytest.raises(UnknownNameError, match="Did you mean 'integer'"):
        SCORERS.get("integr")
