"""`import brodmann` is light, and every public name is there."""

import subprocess
import sys

import pytest

import brodmann


def test_importing_brodmann_imports_nothing_heavy():
    code = (
        "import sys, brodmann;"
        "print(sorted({'torch', 'transformers', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize("name", brodmann.__all__)
def test_every_public_name_resolves_and_is_documented(name):
    value = getattr(brodmann, name)
    assert callable(value)
    assert value.__doc__
    assert name in dir(brodmann)


def test_a_name_that_is_not_public_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'locat'"):
        brodmann.locat  # noqa: B018


@pytest.mark.parametrize("first", ["brodmann.evaluate.statistics", "brodmann"])
def test_evaluate_can_be_called_whatever_was_imported_before(first):
    # `brodmann.evaluate` is a package, too: importing it must not hide the function.
    code = f"import brodmann, {first}; brodmann.Evaluation; print(callable(brodmann.evaluate))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "True\n", result.stderr
