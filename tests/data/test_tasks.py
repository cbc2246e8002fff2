"""Questions, solved examples, repeats and matched answers."""

import re
from collections import Counter

import pytest

from brodmann.data import load_examples
from brodmann.data.arithmetic.distractors import distractors
from brodmann.data.arithmetic.expressions import Expression
from brodmann.data.split import keyed_random
from brodmann.errors import DataError
from tests.reference import arithmetic as reference

OPERATORS = ("add", "sub", "mul", "div")


def options_of(prompt):
    """Return the options of the last multiple-choice question of a prompt."""
    found = re.findall(r"\(([abcd])\) (-?\d+)", prompt)[-4:]
    assert [letter for letter, _ in found] == ["a", "b", "c", "d"]
    return {letter: int(number) for letter, number in found}


def shown_result(prompt):
    """Return what the last true-or-false question claims."""
    return int(re.findall(r"=(-?\d+)", prompt)[-1])


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("template", ["paper", "plain"])
@pytest.mark.parametrize(("part", "largest"), [("add", 4), ("div", 9), ("2op", 9), ("5op", 999)])
def test_multiple_choice(lang, template, part, largest):
    spec = f"arithmetic/{part}:task=mq,lang={lang},template={template},max={largest}"
    examples = load_examples(spec, "train", 12 if part == "add" else 60)
    for example in examples:
        options = options_of(example.prompt)
        assert len(set(options.values())) == 4
        assert all(number >= 0 for number in options.values())
        assert options[example.answer] == reference.value(example.meta["expression"])
        assert example.choices == ("a", "b", "c", "d")
        assert example.meta["scorer"] == "choice" and example.meta["task"] == "mq"


def test_the_right_option_is_balanced():
    for part in ("mul", "1op"):
        examples = load_examples(f"arithmetic/{part}:task=mq", split="train", limit=400)
        for operator in {e.meta["capability"] for e in examples}:
            own = Counter(e.answer for e in examples if e.meta["capability"] == operator)
            assert max(own.values()) - min(own.values()) == 0, own


@pytest.mark.parametrize(("lang", "words"), [("en", ("Yes", "No")), ("zh", ("是", "否"))])
@pytest.mark.parametrize("template", ["paper", "plain"])
def test_true_or_false(lang, words, template):
    spec = f"arithmetic:task=tf,lang={lang},template={template},max=30"
    examples = load_examples(spec, split="train", limit=400)
    for example in examples:
        right = shown_result(example.prompt) == reference.value(example.meta["expression"])
        assert example.answer == words[0 if right else 1]
        assert example.choices == words
    for operator in OPERATORS:
        own = Counter(e.answer for e in examples if e.meta["capability"] == operator)
        assert own == {words[0]: 50, words[1]: 50}


def test_the_papers_words():
    (dg,) = load_examples("arithmetic/add-mul", limit=1)
    text, value = dg.meta["expression"], dg.meta["value"]
    start = f'Based on the given expression "{text}'
    assert dg.prompt == f'{start}=?", please provide the answer directly:'
    assert (dg.delimiter, dg.answer, dg.meta["scorer"]) == (" ", str(value), "integer")
    (mq,) = load_examples("arithmetic/add-mul:task=mq", limit=1)
    a, b, c, d = options_of(mq.prompt).values()
    assert mq.prompt == (
        f'{start}=?", the following options are provided: (a) {a}, (b) {b}, (c) {c}, and (d) {d}. '
        "Please select the correct option:"
    )
    (tf,) = load_examples("arithmetic/add-mul:task=tf", limit=1)
    shown = shown_result(tf.prompt)
    assert tf.prompt == f'{start}={shown}", please determine whether it is correct:'


def test_plain_words():
    (example,) = load_examples("arithmetic/mul:template=plain,shots=4,max=9", "train", 1)
    *shots, question = example.prompt.split("\n")
    assert question == f"{example.meta['expression']}=" and example.delimiter == ""
    assert tuple(shot.split("=")[0] for shot in shots) == example.meta["context"]
    for shot in shots:
        text, answer = shot.split("=")
        assert reference.value(text) == int(answer)


@pytest.mark.parametrize("split", ["all", "train", "test"])
@pytest.mark.parametrize(
    ("part", "shots"), [("add", 1), ("add", 4), ("1op", 6), ("2op", 3), ("5op", 2)]
)
def test_solved_examples(split, part, shots):
    examples = load_examples(f"arithmetic/{part}:shots={shots},max=20", split, 60)
    counts = Counter()
    for example in examples:
        context = example.meta["context"]
        assert len(set(context)) == shots
        assert example.meta["expression"] not in context
        assert {len(reference.operators(text)) for text in context} == {
            len(example.meta["operators"])
        }
        counts.update(name for text in context for name in reference.operators(text))
    assert set(counts) == set(OPERATORS)
    if split == "train" and part == "add":
        # 60 contexts are whole turns of the four operators for each of these numbers of shots
        assert max(counts.values()) == min(counts.values())


@pytest.mark.parametrize("split", ["train", "test"])
def test_solved_examples_come_from_the_train_part(split):
    for part in ("1/1", "1/2", "2/2"):
        examples = load_examples(f"arithmetic/sub:max=9,shots=4,part={part}", split)
        shown = {text for e in examples for text in e.meta["context"]}
        for operator in OPERATORS:
            train = load_examples(f"arithmetic/{operator}:max=9,part={part}", "train")
            own = {text for text in shown if reference.operators(text) == (operator,)}
            assert own and own <= {e.meta["expression"] for e in train}


def test_a_sum_is_not_tested_behind_its_mirror_image():
    examples = load_examples("arithmetic/add:max=4,shots=4", "train")
    for example in examples:
        left, right = example.meta["expression"].split("+")
        assert f"{right}+{left}" not in example.meta["context"]


@pytest.mark.parametrize("task", ["mq", "tf"])
def test_answers_of_solved_examples_are_balanced(task):
    examples = load_examples(f"arithmetic/add:task={task},shots=4,template=plain", "train", 40)
    shown = Counter(
        line.split("Answer: ")[-1].split("Correct? ")[-1]
        for example in examples
        for line in example.prompt.split("\n")[:-1]
    )
    assert set(shown) == set(examples[0].choices)
    assert max(shown.values()) == min(shown.values())


def test_row_k_of_every_operator_has_the_same_context():
    rows = [
        load_examples(f"arithmetic/{name}:shots=4,answers=matched,max=60", "train", 30)
        for name in OPERATORS
    ]
    for same in zip(*rows, strict=True):
        assert len({e.meta["context"] for e in same}) == 1


def test_repeats_stand_behind_other_contexts():
    spec = "arithmetic/sub:max=9,shots=4,template=plain,repeat=true"
    examples = load_examples(spec, "test", 90)
    counts = Counter(e.meta["expression"] for e in examples)
    assert len(counts) == 9 and set(counts.values()) == {10}
    assert len({e.prompt for e in examples}) == 90
    alone = load_examples("arithmetic/sub:max=9,shots=4,template=plain", "test")
    assert examples[:9] == alone
    with pytest.raises(DataError, match=r"at most 9, .* repeat=true"):
        load_examples("arithmetic/sub:max=9,shots=4,template=plain", "test", 90)


@pytest.mark.parametrize("split", ["all", "train", "test"])
@pytest.mark.parametrize("options", ["max=50", "max=200", "max=30,shots=2,repeat=true,part=1/2"])
def test_matched_answers_agree_row_by_row(split, options):
    limit = 20 if options == "max=50" else 80
    rows = [
        load_examples(f"arithmetic/{name}:answers=matched,{options}", split, limit)
        for name in OPERATORS
    ]
    for examples, name in zip(rows, OPERATORS, strict=True):
        assert [e.answer for e in examples] == [e.answer for e in rows[0]]
        assert all(e.meta["operators"] == (name,) for e in examples)
        assert all(reference.value(e.meta["expression"]) == int(e.answer) for e in examples)
        if "repeat" not in options:
            assert len({e.meta["expression"] for e in examples}) == limit
    assert len({e.answer for e in rows[0]}) > 5


def test_the_largest_matched_set_is_what_the_scarcest_operator_allows():
    count = {}
    train = {
        name: [e.meta["value"] for e in load_examples(f"arithmetic/{name}:max=25", "train")]
        for name in OPERATORS
    }
    for value in range(1, 26):
        count[value] = min(values.count(value) for values in train.values())
    for name in OPERATORS:
        examples = load_examples(f"arithmetic/{name}:max=25,answers=matched", "train")
        answers = Counter(e.meta["value"] for e in examples)
        assert answers == {value: n for value, n in count.items() if n}


def test_matched_train_and_test_are_disjoint():
    sides = [
        {e.meta["expression"] for e in load_examples("arithmetic/mul:max=99,answers=matched", s)}
        for s in ("train", "test")
    ]
    assert all(sides) and not sides[0] & sides[1]


def test_distractors_are_plausible_and_enough():
    seven_times_eight = Expression((7, 8), ("mul",), 56)
    drawn = {
        wrong
        for turn in range(200)
        for wrong in distractors(seven_times_eight, 3, keyed_random(turn))
    }
    assert drawn == {15, 65, 55, 57, 54, 58, 46, 66}  # sum, swapped digits, near, by ten
    zero = Expression((1, 1), ("sub",), 0)
    assert len(set(distractors(zero, 20, keyed_random(0)))) == 20
    two = Expression((2, 3, 4), ("add", "mul"), 14)
    assert 20 in {w for t in range(50) for w in distractors(two, 3, keyed_random(t))}
