"""Facts: what one is, and the shapes in which they are published."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brodmann.data import Fact, load_facts, read_facts, write_facts
from brodmann.data.fact_files import FactsLeftOut
from brodmann.data.facts import places_of_words
from brodmann.errors import DataError
from brodmann.localize import facts_of

FACT = {
    "id": "lake",
    "subject": "Lake Vorna",
    "relation": "P17",
    "prompt": "Lake Vorna lies in",
    "answer": "Eastland",
}


def fact(**changes):
    return Fact(**(FACT | changes))


def written(path, rows, lines=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(map(json.dumps, rows)) if lines else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_facts_examples_name_it():
    given_fact = fact(paraphrases=("The country of Lake Vorna is",))
    examples = given_fact.examples()
    assert [e.prompt for e in examples] == list(given_fact.prompts)
    assert {(e.answer, e.delimiter) for e in examples} == {("Eastland", " ")}
    other = fact(id="other", subject="Mount", prompt="Mount is in", answer="Westland")
    grouped = facts_of([*examples, *other.examples()])
    assert {name: len(part) for name, part in grouped.items()} == {"lake": 2, "other": 1}
    assert examples[0].meta["subject"] == "Lake Vorna" and examples[0].meta["relation"] == "P17"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prompt": "Lake Borna lies in"}, "the subject 'Lake Vorna' in the prompt of fact lake"),
        ({"paraphrases": ("It lies in",)}, "in the paraphrase 1 of fact lake; got 'It lies in'"),
        ({"answer": "Lake Vorna"}, "an answer that is not a prefix of the prompt"),
        ({"prompt": "Lake Vorna lies in Eastland"}, "to end where the answer begins"),
        ({"prompt": "Lake Vorna lies in "}, "without white space at its end"),
        ({"prompt": " "}, "text as the prompt"),
        ({"answer": " Eastland"}, "without white space in front"),
        ({"answer": ""}, "text as the answer"),
        ({"subject": ""}, "text as the subject"),
        ({"id": ""}, "text as the id"),
        ({"target_new": "Eastland"}, "a target_new that differs"),
        ({"paraphrases": ("Lake Vorna lies in",)}, "one is there twice"),
        ({"neighbours": (("", "Westland"),)}, "a prompt for each neighbour"),
        ({"neighbours": (("Mount is in", ""),)}, "text as the answer of a neighbour"),
    ],
)
def test_what_is_no_fact_is_refused_in_one_line(changes, said):
    with pytest.raises(DataError) as caught:
        fact(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_answer_may_be_part_of_a_word_but_not_a_word():
    assert fact(subject="Frenchmen", prompt="Frenchmen speak", answer="French").answer == "French"
    assert fact(prompt="Lake Vorna lies in ", delimiter="").prompt.endswith(" ")
    with pytest.raises(DataError):
        fact(subject="Men", prompt="French Men speak", answer="French")
    with pytest.raises(DataError):  # scripts without spaces have no borders of words
        fact(subject="湖", prompt="东国的湖在", answer="东国")


@given(st.text(" ab", max_size=12), st.text("ab", min_size=1, max_size=2))
def test_places_of_words_are_those_between_spaces(text, words):
    expected, start = [], 0
    for part in text.split(" "):
        if part == words:
            expected.append(start)
        start += len(part) + 1
    assert places_of_words(text, words) == expected


def counterfact(number=7, **request):
    return {
        "case_id": number,
        "requested_rewrite": {
            "prompt": "The river {} flows into the",
            "relation_id": "P403",
            "target_new": {"str": "Grey Sea", "id": "Q1"},
            "target_true": {"str": "Blue Sea", "id": "Q2"},
            "subject": "Ombra",
        }
        | request,
        "paraphrase_prompts": ["Nobody came. Ombra ends in the", "It ends in the"],
        "neighborhood_prompts": ["The river Talla flows into the"],
    }


def test_counterfact(tmp_path):
    rows = [
        counterfact(),
        counterfact(8, subject="Blue Sea Canal"),
        counterfact(8, subject="Grond", prompt="Its water flows into the"),
        counterfact(9, subject="Lind") | {"paraphrase_prompts": []},
        counterfact(9, subject="Lund") | {"paraphrase_prompts": []},
    ]
    found = read_facts(written(tmp_path / "counterfact.json", rows, lines=False))
    assert [fact.id for fact in found.facts] == ["counterfact-7", "counterfact-9"]
    assert found.facts[0] == Fact(
        id="counterfact-7", subject="Ombra", relation="P403",
        prompt="The river Ombra flows into the", answer="Blue Sea", target_new="Grey Sea",
        paraphrases=("Nobody came. Ombra ends in the",),
        neighbours=(("The river Talla flows into the", "Blue Sea"),),
    )  # fmt: skip
    assert found.left_out == {
        "answer inside the subject": 1,
        "subject not in the prompt": 1,
        "id that is there twice": 1,
        "paraphrase: subject not in the prompt": 1,
    }


def test_what_was_left_out_is_warned_of(tmp_path):
    path = written(tmp_path / "c.json", [counterfact()], lines=False)
    with pytest.warns(FactsLeftOut, match="left out 1 x paraphrase: subject not in the prompt"):
        assert len(load_facts(path)) == 1


def test_zsre(tmp_path):
    row = {
        "subject": "Ombra", "src": "Where does Ombra end?", "pred": "?",
        "rephrase": "In what sea does Ombra end?", "alt": "Grey Sea",
        "answers": ["Blue Sea", "the Blue Sea"], "loc": "nq question: who sings",
        "loc_ans": "Ann", "cond": "Grey Sea >> ...",
    }  # fmt: skip
    rows = [row, row | {"alt": ""}, row | {"loc_ans": ""}, row | {"answers": []}]
    found = read_facts(written(tmp_path / "zsre.json", rows, lines=False))
    assert found.facts[0] == Fact(
        id="fact-1", subject="Ombra", relation="",
        prompt="Question: Where does Ombra end?\nAnswer:", answer="Blue Sea",
        paraphrases=("Question: In what sea does Ombra end?\nAnswer:",), target_new="Grey Sea",
        neighbours=(("Question: who sings\nAnswer:", "Ann"),),
    )  # fmt: skip
    assert found.facts[1].target_new is None
    assert found.facts[2].neighbours == ()
    assert found.left_out == {
        "target_new that is empty or the answer (the fact stays)": 1,
        "neighbour without prompt or answer": 1,
        "no subject or no answer": 1,
    }


def test_known_1000(tmp_path):
    row = {
        "known_id": 3, "subject": "Ombra", "attribute": "Blue Sea", "template": "{} ends in the",
        "prediction": " Blue Sea, which", "prompt": "Ombra ends in the ", "relation_id": "P403",
    }  # fmt: skip
    (found,) = load_facts(written(tmp_path / "known.json", [row], lines=False))
    assert found == Fact(
        id="known-3", subject="Ombra", relation="P403", prompt="Ombra ends in the",
        answer="Blue Sea",
    )  # fmt: skip


def pararel(folder):
    patterns = ("[X] ends in [Y].", "[Y] takes in [X] .", "[X], ending in [Y] .", "[X] met [Y]!")
    written(folder / "pattern_data/graphs_json/P403.jsonl", [{"pattern": p} for p in patterns])
    written(folder / "pattern_data/graphs_json/P9.jsonl", [{"pattern": "[Y] is of [X]."}])
    written(folder / "pattern_data/graphs_json/P8.jsonl", [{"pattern": "[X] is of [Y]."}])
    rows = [("Ombra", "Blue Sea"), ("Talla", "Grey Sea"), ("Talla", "Blue Sea"), ("Sea", "Sea")]
    named = [{"sub_label": s, "obj_label": o, "uuid": f"u{i}"} for i, (s, o) in enumerate(rows)]
    written(folder / "trex_lms_vocab/P403.jsonl", named)
    written(folder / "trex_lms_vocab/P9.jsonl", named[:1])
    return folder


@pytest.mark.parametrize("below", [".", "data"])
def test_pararel(tmp_path, below):
    pararel(tmp_path / below)
    found = read_facts(tmp_path)
    assert found.facts == (
        Fact(
            id="pararel-P403-u0", subject="Ombra", relation="P403", prompt="Ombra ends in",
            answer="Blue Sea", paraphrases=("Ombra, ending in",),
        ),
    )  # fmt: skip
    assert found.left_out == {
        "several answers for one subject": 2,
        "no pattern of the relation ends in the object": 1,
        "answer inside the subject": 1,
    }


def test_rows_of_ones_own_come_back_as_they_were(tmp_path):
    facts = [
        fact(paraphrases=("Lake Vorna is in",), target_new="Westland", delimiter="\n"),
        fact(id="2", relation="", neighbours=(("Mount is in", "Westland"),)),
    ]
    write_facts(tmp_path / "facts.jsonl", facts)
    assert load_facts(tmp_path / "facts.jsonl") == facts
    pq.write_table(
        pa.Table.from_pylist([{k: v for k, v in FACT.items() if k != "id"}]), tmp_path / "f.parquet"
    )
    assert load_facts(tmp_path / "f.parquet") == [fact(id="fact-1")]


def test_a_folders_parts_are_joined_and_a_frame_holds_all_questions(tmp_path):
    row = FACT | {
        "prompt": "Q: Where is Lake Vorna?\nA:", "question": "Where is Lake Vorna?",
        "paraphrases": ["Where is Lake Vorna?", "In what land is Lake Vorna?"],
        "locality_question": "nq question: who sings", "locality_answer": "Ann",
        "target_new": " Westland",
    }  # fmt: skip
    written(tmp_path / "train.jsonl", [row])
    written(tmp_path / "test.jsonl", [FACT | {"id": "2", "answer": " Eastland"}])
    first, second = load_facts(tmp_path)
    assert first.paraphrases == ("Q: In what land is Lake Vorna?\nA:",)
    assert first.neighbours == (("Q: who sings\nA:", "Ann"),)
    assert first.target_new == "Westland"
    assert (second.answer, second.delimiter) == ("Eastland", " ")


def test_limit_takes_the_first_after_a_seeded_shuffle(tmp_path):
    facts = [fact(id=str(number)) for number in range(20)]
    write_facts(tmp_path / "facts.jsonl", facts)
    one, again, other = (
        [f.id for f in load_facts(tmp_path / "facts.jsonl", limit=6, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert one == again != other
    assert set(one) < {f.id for f in facts}
    with pytest.raises(DataError, match="a limit of at most 20"):
        load_facts(tmp_path / "facts.jsonl", limit=21)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "x", "label": 1}], r"CounterFact \(requested_rewrite\).*ParaRel.*text, label"),
        ([FACT, {"text": "x"}], "all rows in the shape of the first, own rows"),
        ([FACT | {"prompt": "It lies in"}], r"the subject 'Lake Vorna'.*\(It is line 1 of"),
        ([FACT | {"paraphrases": ["It lies in"]}], r"in the paraphrase 1 of fact lake.*line 1 of"),
        ([FACT | {"answer": "Lake"}], r"not a prefix of the prompt of fact lake"),
        ([FACT, FACT], "an id of its own for each fact; 'lake' is there twice"),
        ([FACT | {"paraphrases": 3}], "a list of texts as 'paraphrases'"),
        ([FACT | {"neighbours": ["x"]}], "as 'neighbours' in line 1"),
        ([FACT | {"answer": None}], "text or a number as 'answer'"),
        ([{"requested_rewrite": {"subject": "x"}}], "an object as 'target_true'"),
        ([{"requested_rewrite": 3}], "an object as 'requested_rewrite'"),
        ([{"subject": "x", "src": "y", "answers": "Blue Sea"}], "a list of answers"),
    ],
)
def test_bad_rows_are_refused_in_one_line(tmp_path, rows, said):
    with pytest.raises(DataError, match=said) as caught:
        load_facts(written(tmp_path / "facts.jsonl", rows))
    assert "\n" not in str(caught.value)


def test_bad_sources_are_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half/pattern_data/graphs_json").mkdir(parents=True)
    (tmp_path / "half/trex_lms_vocab").mkdir()
    nothing = written(tmp_path / "c.json", [counterfact(prompt="No name")], lines=False)
    for source, said in [
        (tmp_path / "no.jsonl", "there is none"),
        (tmp_path / "empty", "it has none"),
        (tmp_path / "half", "patterns that end in"),
        ("arithmetic/add", "a file or folder of facts"),
        (f"{nothing}:split=train", "split"),
        (nothing, "facts that can be used"),
    ]:
        with pytest.raises(DataError if "split" not in str(source) else ValueError) as caught:
            load_facts(source)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="limit of at least 1"):
        load_facts(nothing, limit=0)
