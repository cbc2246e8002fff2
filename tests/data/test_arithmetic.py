"""The arithmetic set: what is drawn, and in which numbers."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brodmann.data import load_examples
from brodmann.errors import DataError, UnknownNameError
from tests.reference import arithmetic as reference

OPERATORS = ("add", "sub", "mul", "div")

parts = st.one_of(
    st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=5).map("-".join),
    st.sampled_from(["", "1op", "2op", "3op", "4op", "5op"]),
)


def expressions(examples):
    return [example.meta["expression"] for example in examples]


def load(spec, split="all", limit=None, seed=0):
    return load_examples(spec, split=split, limit=limit, seed=seed)


@settings(deadline=None, max_examples=20)
@given(
    part=parts,
    largest=st.sampled_from([5, 9, 30, 999, 10**9]),
    smallest=st.integers(0, 3),
    seed=st.integers(-5, 10**6),
    split=st.sampled_from(["all", "train", "test"]),
)
def test_every_expression_is_what_it_says(part, largest, smallest, seed, split):
    spec = f"arithmetic/{part}".rstrip("/") + f":max={largest},min={smallest}"
    try:
        examples = load(spec, split, 8, seed)
    except DataError as error:  # tiny ranges run out
        assert "at most" in str(error) or "there are none" in str(error)
        return
    for example in examples:
        text = example.meta["expression"]
        assert reference.value(text) == int(example.answer) == example.meta["value"]
        assert all(step >= 0 and step.denominator == 1 for step in reference.steps(text))
        assert reference.operators(text) == example.meta["operators"]
        if part and not part.endswith("op"):
            assert sorted(example.meta["operators"]) == sorted(part.split("-"))
        assert example.prompt == (
            f'Based on the given expression "{text}=?", please provide the answer directly:'
        )
    assert len(set(expressions(examples))) == 8


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("smallest", "largest"), [(1, 9), (0, 5), (2, 7), (3, 3)])
def test_a_small_range_is_complete(operator, smallest, largest):
    found = expressions(load(f"arithmetic/{operator}:min={smallest},max={largest}"))
    assert sorted(found) == sorted(reference.all_single(operator, smallest, largest))


@pytest.mark.parametrize("names", [("add", "sub"), ("add", "mul"), ("sub", "sub"), ("mul", "sub")])
def test_a_small_range_of_two_operators_is_complete(names):
    found = expressions(load(f"arithmetic/{'-'.join(names)}:max=4"))
    assert sorted(found) == sorted(reference.all_of(names, 1, 4))


def test_the_numbers_that_the_methods_page_states():
    assert len(load("arithmetic/add:max=9")) == 81
    sums = [e for e in load("arithmetic/add:max=9") if 2 <= int(e.answer) <= 9]
    assert len(sums) == 36


@pytest.mark.parametrize("task", ["dg", "mq", "tf"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_paper_counts(task, lang):
    options = f"task={task},lang={lang}"
    assert len(load(f"arithmetic/div:{options}")) == 1000
    if task != "dg" or lang != "en":  # the same expressions: tested below
        return
    examples = load(f"arithmetic:{options}")
    assert Counter(e.meta["capability"] for e in examples) == dict.fromkeys(OPERATORS, 1000)
    assert len(set(expressions(examples))) == 4000
    for n in (2, 3, 4, 5):
        assert len(load(f"arithmetic/{n}op:{options}")) == 1000


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("split", ["all", "train", "test"])
def test_operators_are_equally_frequent(n, split):
    examples = load(f"arithmetic/{n}op", split, 240 if split == "all" else 60)
    assert all(len(e.meta["operators"]) == n for e in examples)
    counts = Counter(name for e in examples for name in e.meta["operators"])
    assert max(counts.values()) == min(counts.values())
    assert set(counts) == set(OPERATORS)


def test_two_to_four_operators_differ_and_five_repeat_one():
    for n in (2, 3, 4):
        assert all(len(set(e.meta["operators"])) == n for e in load(f"arithmetic/{n}op", limit=60))
    repeated = Counter(e.meta["capability"] for e in load("arithmetic/5op", limit=40))
    assert repeated == {f"add-sub-mul-div-{name}": 10 for name in OPERATORS}


def test_the_order_of_names_does_not_matter():
    assert load("arithmetic/mul-add", limit=20) == load("arithmetic/add-mul", limit=20)
    assert load("arithmetic/add-add-sub-mul-div", limit=20) == load(
        "arithmetic/add-sub-mul-div-add", limit=20
    )
    assert load("arithmetic/mul-add", limit=1)[0].meta["capability"] == "add-mul"


def test_negative_results_only_when_asked_for():
    assert all(int(e.answer) >= 0 for e in load("arithmetic/sub:max=9"))
    negative = load("arithmetic/sub:max=9,negative=true")
    assert len(negative) == 81
    assert {int(e.answer) for e in negative} == set(range(-8, 9))


@settings(deadline=None, max_examples=8)
@given(
    operator=st.sampled_from(["add", "sub", "mul", "div", "add-div", "1op"]),
    largest=st.sampled_from([6, 9]),
    seed=st.integers(0, 1000),
)
def test_train_test_and_parts_are_disjoint(operator, largest, seed):
    def keys(options, split):
        try:
            spec = f"arithmetic/{operator}:max={largest}{options}"
            return set(expressions(load(spec, split, None, seed)))
        except DataError as error:
            assert "there are none" in str(error)
            return set()

    train, test, both = (keys("", split) for split in ("train", "test", "all"))
    assert not train & test
    assert train | test == both
    halves = [keys(f",part={k}/2", "train") for k in (1, 2)]
    assert not halves[0] & halves[1]
    assert not (halves[0] | halves[1]) & test
    thirds = [keys(f",part={k}/3", "test") for k in (1, 2, 3)]
    assert sum(map(len, thirds)) == len(set.union(*thirds))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("operator", OPERATORS)
def test_small_ranges_are_split_evenly(operator, seed):
    n = {"sub": 45}.get(operator, 81)
    train = load(f"arithmetic/{operator}:max=9", "train", None, seed)
    test = load(f"arithmetic/{operator}:max=9", "test", None, seed)
    assert abs(len(test) - n / 5) < 1 and len(train) + len(test) == n
    halves = [load(f"arithmetic/{operator}:max=9,part={k}/2", "train", None, seed) for k in (1, 2)]
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    assert len(halves[0]) + len(halves[1]) == len(train)


def test_a_test_expression_is_one_in_every_range_and_task():
    small = set(expressions(load("arithmetic/mul:max=20", "test")))
    large = set(expressions(load("arithmetic/mul:max=60,shots=2,task=mq", "train", 500)))
    assert small and large and not small & large


@pytest.mark.parametrize(
    "spec",
    ["arithmetic/add:max=50", "arithmetic/2op:shots=2", "arithmetic/mul:answers=matched,max=99"],
)
@pytest.mark.parametrize("split", ["all", "train", "test"])
def test_a_larger_limit_goes_on_where_a_smaller_one_ends(spec, split):
    assert load(spec, split, 40)[:15] == load(spec, split, 15)


def test_the_mixed_set_is_made_of_the_single_sets():
    mixed = load("arithmetic:max=30,shots=2", "train", 40)
    for operator in OPERATORS:
        own = [e for e in mixed if e.meta["capability"] == operator]
        assert own == load(f"arithmetic/{operator}:max=30,shots=2", "train", 10)


def test_the_seed_decides_everything():
    assert load("arithmetic/add", limit=30) == load("arithmetic/add", limit=30)
    assert load("arithmetic/add", limit=30) != load("arithmetic/add", limit=30, seed=1)


def test_tasks_languages_and_templates_share_the_expressions():
    first = expressions(load("arithmetic/2op", limit=30))
    for options in ("task=mq", "task=tf,lang=zh", "template=plain", "shots=3"):
        assert expressions(load(f"arithmetic/2op:{options}", limit=30)) == first


def test_other_processes_draw_the_same():
    spec = "arithmetic/2op:task=mq,shots=2,max=20"
    code = (
        "import json; from brodmann.data import load_examples\n"
        f"rows = load_examples({spec!r}, split='train', limit=25, seed=3)\n"
        "matched = load_examples('arithmetic/mul:answers=matched,max=40', limit=25, seed=3)\n"
        "print(json.dumps([[e.prompt, e.answer] for e in rows + matched]))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    here = load(spec, "train", 25, 3) + load("arithmetic/mul:answers=matched,max=40", "all", 25, 3)
    assert outputs[0] == outputs[1]
    assert json.loads(outputs[0]) == [[e.prompt, e.answer] for e in here]


def test_sorted_rows_are_the_same_rows():
    rows = load("arithmetic/1op:max=9,order=sorted")
    plain = load("arithmetic/1op:max=9")
    assert sorted(map(repr, rows)) == sorted(map(repr, plain))
    keys = [
        (OPERATORS.index(e.meta["capability"]), *reference_operands(e.meta["expression"]))
        for e in rows
    ]
    assert keys == sorted(keys) and plain != rows


def reference_operands(text):
    for symbol in "-*/":
        text = text.replace(symbol, "+")
    return tuple(int(word) for word in text.split("+"))


@pytest.mark.parametrize("part", ["5op", "div-div-div", "mul-div", "sub-sub-mul"])
def test_huge_spaces_are_not_listed(part):
    # To list these, or to wait for a chance division to be exact, would take years.
    assert len(load(f"arithmetic/{part}:max=1000000000", limit=100)) == 100


@pytest.mark.parametrize(
    ("spec", "split", "limit", "words"),
    [
        ("arithmetic/add:max=9", "all", 82, "at most 81"),
        ("arithmetic/sub:max=9", "train", 60, "at most 36"),
        ("arithmetic:max=9", "all", 400, "at most 180"),
        ("arithmetic/sub-sub-sub-sub:max=3", "all", None, "there are none. Raise max="),
        ("arithmetic/add", "all", 0, "limit of at least 1"),
        ("arithmetic/add:max=0,min=0", "all", None, "max= a whole number from 1"),
        ("arithmetic/add:max=-3", "all", None, "max= a whole number"),
        ("arithmetic/add:max=9,min=10", "all", None, "min= up to max="),
        ("arithmetic/add:shots=100", "all", None, "shots= a whole number from 0 to 64"),
        ("arithmetic/add:repeat=true", "all", None, "shots=1 or more with repeat=true"),
        ("arithmetic/add-mul:answers=matched", "all", None, "one operator with answers=matched"),
        ("arithmetic/add-add-add-add-add-add", "all", None, "at most 5 operators"),
        ("arithmetic/add:part=3/2", "all", None, "part=K/N"),
        ("arithmetic/add:max=2,shots=20", "all", None, "train part"),
        ("arithmetic/add:max=2,shots=1,repeat=true", "train", 10**4, "fewer repeats"),
    ],
)
def test_data_errors(spec, split, limit, words):
    with pytest.raises(DataError, match=words.replace("(", r"\(")) as caught:
        load(spec, split, limit)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("arithmetic/ad", "Did you mean 'add'"),
        ("arithmetic/add-mull", "Did you mean 'mul'"),
        ("arithmetic/add:task=mc", "dg, mq, tf"),
        ("arithmetic/add:lang=fr", "en, zh"),
        ("arithmetic/add:answers=match", "Did you mean 'matched'"),
        ("arithmetic/add:repeat=yes", "false, true"),
        ("arithmetic/add:shot=4", "Did you mean 'shots'"),
        ("arithmetc/add", "Did you mean 'arithmetic'"),
        ("arithmetic/add:split=dev", "all, test, train"),
    ],
)
def test_unknown_names(spec, words):
    with pytest.raises(UnknownNameError, match=words):
        load(spec)
