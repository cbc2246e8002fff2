"""Paraphrases of facts: from templates, and written by a model."""

import json

import pytest

from brodmann.data import Fact, paraphrased, relation_templates, rewritten
from brodmann.data.fact_templates import all_relation_templates
from brodmann.errors import DataError, InputError, UnknownNameError

FACT = Fact(
    id="lake", subject="Lake Vorna", relation="P17", prompt="Lake Vorna lies in", answer="Eastland"
)


def test_templates_add_what_is_new():
    more = paraphrased(FACT, ["{} lies in", "{} is in ", "The land of {} is", "{} is in"])
    assert more.prompts == ("Lake Vorna lies in", "Lake Vorna is in", "The land of Lake Vorna is")
    assert paraphrased(more, ["{} is in"]) == more


@pytest.mark.parametrize("relation", sorted(all_relation_templates()))
def test_our_own_templates_ask_for_the_answer(relation):
    templates = relation_templates(relation)
    assert len(set(templates)) >= 5
    more = paraphrased(FACT, templates)
    assert len(more.paraphrases) >= 5
    for template in templates:
        assert template.count("{}") == 1
        assert template == template.strip() and template[-1] not in ".!?"
        assert "  " not in template


def test_bad_templates_are_refused():
    with pytest.raises(DataError, match="paraphrase without the subject"):
        paraphrased(FACT, ["It lies in"])
    with pytest.raises(DataError, match="ends with 'Eastland' already"):
        paraphrased(FACT, ["{} lies in Eastland"])
    with pytest.raises(UnknownNameError, match="P36"):
        relation_templates("P999999")


OUTPUT = """ Lake Vorna is found in Eastland.
3. "The country of Lake Vorna is"
- Lake Vorna lies in
4) It belongs to
5. Lake Vorna is a lake.
6. In Eastland, Lake Vorna is known as
7. Eastland has Lake Vorna in

8. One travels to Lake Vorna in ___
9. Lake Vorna can be seen in
"""


def test_what_a_model_writes_is_checked_and_saved(tmp_path):
    asked = []

    def writer(prompts):
        asked.extend(prompts)
        return [OUTPUT]

    saved = tmp_path / "written.jsonl"
    (more,), (note,) = rewritten([FACT], writer, saved=saved, count=3)
    kept = (
        "Lake Vorna is found in", "The country of Lake Vorna is", "One travels to Lake Vorna in",
    )  # fmt: skip
    assert more.paraphrases == note.kept == kept
    assert dict(note.refused) == {
        "Lake Vorna lies in": "not new",
        "It belongs to": "subject not in the prompt",
        "Lake Vorna is a lake.": "ends before the answer could follow",
        "In Eastland, Lake Vorna is known as": "answer inside the prompt",
        "Eastland has Lake Vorna in": "answer inside the prompt",
        "Lake Vorna can be seen in": "more than were asked for",
    }
    assert "1. Lake Vorna lies in" in asked[0] and "{" not in asked[0]
    row = json.loads(saved.read_text())
    assert (row["fact"], row["prompt"], row["output"]) == ("lake", asked[0], OUTPUT)
    assert row["kept"] == list(kept) and len(row["refused"]) == 6
    with pytest.raises(InputError, match="exists"):
        rewritten([FACT], lambda prompts: pytest.fail("asked in vain"), saved=saved)


def test_bad_writers_and_prompts_are_refused(tmp_path):
    with pytest.raises(DataError, match="one text for each of 1 prompts"):
        rewritten([FACT], lambda prompts: [], saved=tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"Expected \{subject\} and \{prompt\}"):
        rewritten([FACT], lambda prompts: [""], saved=tmp_path / "a.jsonl", ask="Rewrite {prompt}")
    with pytest.raises(DataError, match="Expected paraphrases to write"):
        rewritten([], lambda prompts: [], saved=tmp_path / "a.jsonl")
