import pytest

from brodmann.errors import InputError, UnknownNameError
from brodmann.registry import Registry


def test_register_get_and_names():
    methods = Registry("method")

    @methods.register("dcsn")
    def dcsn():
        return 1

    methods.add("cnl", dcsn)
    assert methods.get("dcsn") is dcsn
    assert methods.names() == ("cnl", "dcsn")
    assert "cnl" in methods and "kn" not in methods


def test_collisions_raise():
    methods = Registry("method")
    methods.add("dcsn", 1)
    with pytest.raises(ValueError, match="registered already") as caught:
        methods.add("dcsn", 2)
    assert not isinstance(caught.value, InputError)
    assert methods.get("dcsn") == 1


def test_unknown_names_get_a_hint():
    methods = Registry("method")
    methods.add("dcsn", 1)
    with pytest.raises(UnknownNameError, match=r"Expected a method out of dcsn; got 'dscn'.*dcsn"):
        methods.get("dscn")
