"""The decoupling set: pairs of requests that share an expression, and splits that do not."""

from collections import Counter

import pytest

from brodmann.data import load_examples
from brodmann.errors import DataError, UnknownNameError
from tests.reference import arithmetic as reference


def expressions(examples):
    return [one.meta["expression"] for one in examples]


def test_a_thousand_pairs_of_four_operators():
    answers, programs = load_examples("decoupling/answer"), load_examples("decoupling/code")
    assert len(answers) == len(set(expressions(answers))) == 1000
    assert expressions(answers) == expressions(programs)
    assert set(Counter(one.meta["operators"] for one in answers).values()) == {250}
    for answer, program in zip(answers, programs, strict=True):
        text = answer.meta["expression"]
        value = reference.value(text)
        assert int(answer.answer) == value == program.meta["value"]
        assert answer.prompt == f'Provide the correct answer for "{text}=?":'
        assert program.prompt == f'Program as Python code for "{text}=?":'
        assert program.answer == f"print({text})"
        assert eval(text) == value


def test_both_requests_stand_side_by_side():
    pairs = load_examples("decoupling", limit=6)
    assert [one.meta["capability"] for one in pairs] == ["answer", "code"] * 3
    assert expressions(pairs[::2]) == expressions(pairs[1::2])
    assert pairs[::2] == load_examples("decoupling/answer", limit=3)


def test_programs_may_begin_with_the_value():
    for template in ("paper", "own"):
        spec = f"decoupling/code:code=assert,template={template}"
        for one in load_examples(spec, limit=20):
            assert one.prompt.endswith(" assert")
            assert one.answer == f"{one.meta['value']} == {one.meta['expression']}"
            assert eval(one.answer)


def test_our_words_ask_the_same():
    own = load_examples("decoupling:template=own", limit=20)
    paper = load_examples("decoupling", limit=20)
    assert [one.answer for one in own] == [one.answer for one in paper]
    assert not {one.prompt for one in own} & {one.prompt for one in paper}


def test_splits_and_parts_share_no_expression():
    whole = expressions(load_examples("decoupling/code"))
    sides = [load_examples("decoupling/answer", split) for split in ("train", "test")]
    train, test = map(expressions, sides)
    assert sorted(train + test) == sorted(whole)
    assert 0.15 < len(test) / len(whole) < 0.25
    halves = [expressions(load_examples(f"decoupling/code:part={k}/2", "train")) for k in (1, 2)]
    assert sorted(halves[0] + halves[1]) == sorted(train)


def test_a_seed_is_a_set_and_small_ranges_are_whole():
    first, again = (load_examples("decoupling", limit=40, seed=3) for _ in range(2))
    assert first == again
    assert first != load_examples("decoupling", limit=40, seed=4)
    small = expressions(load_examples("decoupling/answer:max=9"))
    assert sorted(small) == sorted(
        one for name in ("add", "sub", "mul", "div") for one in reference.all_single(name, 1, 9)
    )


@pytest.mark.parametrize(
    ("spec", "limit", "error", "told"),
    [
        ("decoupling/value", None, UnknownNameError, "answer"),
        ("decoupling:template=plain", None, UnknownNameError, "own"),
        ("decoupling:code=exec", None, UnknownNameError, "assert"),
        ("decoupling:max=0", None, DataError, "from 1 to"),
        ("decoupling", 7, DataError, "even limit"),
        ("decoupling/code", 1001, DataError, "at most 1000"),
        ("decoupling:shots=2", None, UnknownNameError, "template"),
    ],
)
def test_bad_input_is_one_line(spec, limit, error, told):
    with pytest.raises(error, match=told) as found:
        load_examples(spec, limit=limit)
    assert "\n" not in str(found.value)
