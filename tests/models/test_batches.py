import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brodmann.errors import InputError
from brodmann.models.batches import (
    CPU_TOKENS,
    accepts,
    left_padded,
    plan_batches,
    right_padded,
    token_budget,
)
from tests.tiny import TINY_FAMILIES, tiny_model

LENGTHS = st.lists(st.integers(1, 300), max_size=60)
SEQUENCES = st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=9), min_size=1, max_size=6)


@given(LENGTHS, st.integers(1, 9))
def test_fixed_sizes(lengths, size):
    plan = plan_batches(lengths, size)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == size for batch in plan[:-1])
    flat = [lengths[index] for batch in plan for index in batch]
    assert flat == sorted(flat, reverse=True)


@given(LENGTHS, st.integers(1, 1000))
def test_auto_keeps_the_padded_batch_within_the_budget(lengths, budget):
    plan = plan_batches(lengths, "auto", budget)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    for batch, following in zip(plan, [*plan[1:], None], strict=False):
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
        if following is not None:
            assert longest * (len(batch) + 1) > budget  # no batch is smaller than it must be
    assert plan_batches(lengths, "auto", budget) == plan


def test_equal_lengths_keep_their_order_and_plans_are_plain():
    assert plan_batches([3, 3, 5, 3], 2) == [[2, 0], [1, 3]]
    assert plan_batches([], "auto") == []


@pytest.mark.parametrize("size", [0, -3])
def test_bad_sizes(size):
    with pytest.raises(InputError, match=f"1 or more, or 'auto'; got {size}"):
        plan_batches([1, 2], size)


@given(SEQUENCES, st.booleans())
def test_padding(sequences, left):
    batch = (left_padded if left else right_padded)(sequences, 0)
    longest = max(map(len, sequences))
    for row, sequence in enumerate(sequences):
        padding = [0] * (longest - len(sequence))
        ones, places = [1] * len(sequence), list(range(len(sequence)))
        ids, mask = batch.input_ids[row].tolist(), batch.attention_mask[row].tolist()
        assert ids == (padding + sequence if left else sequence + padding)
        assert mask == (padding + ones if left else ones + padding)
        positions = batch.position_ids[row]
        assert positions[batch.attention_mask[row].bool()].tolist() == places
        assert positions.min() >= 0 and positions.max() < longest


@pytest.mark.parametrize("sequences", [[], [[1], []]])
def test_nothing_to_pad(sequences):
    with pytest.raises(InputError, match="one token or more"):
        right_padded(sequences, 0)


@pytest.mark.parametrize("family", TINY_FAMILIES)
@pytest.mark.parametrize("pad", [left_padded, right_padded])
def test_padding_changes_no_logits(family, pad):
    hf, _ = tiny_model(family)
    sequences = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [20], [31, 32, 33, 34]]
    batch = pad(sequences, 0)
    inputs = batch.inputs_for(hf)
    assert ("position_ids" in inputs) == (family not in ("bloom", "mpt"))
    with torch.no_grad():
        together = hf(**inputs).logits
        for row, sequence in enumerate(sequences):
            alone = hf(input_ids=torch.tensor([sequence])).logits[0]
            got = together[row][batch.attention_mask[row].bool()]
            assert torch.allclose(got, alone, atol=1e-3)


def test_the_decoder_takes_the_same_inputs():
    hf, _ = tiny_model("llama")
    batch = right_padded([[5, 6], [7]], 0)
    inputs = batch.inputs_for(hf.get_decoder())
    assert set(inputs) == {"input_ids", "attention_mask", "position_ids"}
    assert accepts(hf, "logits_to_keep") and not accepts(hf, "nonsense")


def test_an_adapter_is_asked_for_the_model_inside():
    hf, _ = tiny_model("gpt2")

    class Adapted(torch.nn.Module):
        def get_base_model(self):
            return hf

        def forward(self, *args, **kwargs):
            return hf(*args, **kwargs)

    assert accepts(Adapted(), "position_ids")


def test_the_budget_of_a_cpu():
    assert token_budget(tiny_model("llama")[0]) == CPU_TOKENS
