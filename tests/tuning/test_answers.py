"""Rows to train on: labels on exactly the tokens that localisation calls the answer."""

import pytest
import torch

from brodmann.data import Example
from brodmann.errors import DataError, InputError
from brodmann.localize.targets import readings
from brodmann.tuning.answers import IGNORED, collated, training_rows
from tests.tiny.families import CONTEXT
from tests.tiny.opened import opened

EXAMPLES = [Example("1 + 2 =", "3"), Example("The sum of 9 and 8 is", "17"), Example("5:", "-5")]


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma"])
def test_labels_stand_on_the_answer_tokens_of_localisation(family):
    model = opened(family)
    read = readings(model, EXAMPLES, target="mean", chat_template="off")
    for row, reading in zip(training_rows(model, EXAMPLES), read, strict=True):
        labelled = [i for i, label in enumerate(row["labels"]) if label != IGNORED]
        assert tuple(row["input_ids"][:-1]) == reading.ids
        assert tuple(i - 1 for i in labelled) == reading.positions
        assert tuple(row["labels"][i] for i in labelled) == reading.targets
        assert [row["input_ids"][i] for i in labelled] == list(reading.targets)


def test_the_end_of_text_is_learned_only_where_asked():
    model = opened("qwen2")
    with_end = training_rows(model, EXAMPLES, end_of_text=True)
    for plain, ended in zip(training_rows(model, EXAMPLES), with_end, strict=True):
        end = [model.tokenizer.eos_token_id]
        assert ended["input_ids"] == plain["input_ids"] + end
        assert ended["labels"] == plain["labels"] + end


def test_batches_are_padded_behind_with_nothing_to_learn_there():
    model = opened("llama")  # without a pad token
    rows = training_rows(model, EXAMPLES)
    batch = collated(rows, model.pad_id)
    longest = max(len(row["input_ids"]) for row in rows)
    for place, row in enumerate(rows):
        n = len(row["input_ids"])
        assert batch["input_ids"][place].tolist() == row["input_ids"] + [model.pad_id] * (
            longest - n
        )
        assert batch["attention_mask"][place].tolist() == [1] * n + [0] * (longest - n)
        assert batch["labels"][place].tolist() == row["labels"] + [IGNORED] * (longest - n)
    assert batch["labels"].dtype == torch.long


def test_what_does_not_fit_is_refused():
    model = opened("llama")
    with pytest.raises(DataError, match=f"at most {CONTEXT} tokens"):
        training_rows(model, [Example("1" * CONTEXT, "2")])
    room = CONTEXT - 2  # BOS in front and the answer
    just = [Example("1" * room, "2", delimiter="")]
    assert len(training_rows(model, just)[0]["input_ids"]) == CONTEXT
    with pytest.raises(DataError, match="with its end of text"):
        training_rows(model, just, end_of_text=True)
    with pytest.raises(DataError, match="at least one example"):
        training_rows(model, [])
    model.tokenizer.eos_token = None
    with pytest.raises(InputError, match="end-of-text token"):
        training_rows(model, EXAMPLES, end_of_text=True)
