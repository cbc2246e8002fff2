import math
import sys
from contextlib import contextmanager, nullcontext

import pytest
import torch

from brodmann.errors import DataError
from brodmann.evaluate.collateral import collateral, read_neutral
from brodmann.evaluate.neutral import neutral_texts
from brodmann.interventions import erased
from brodmann.models.load import load_model
from brodmann.neurons import NeuronSet
from tests.tiny import tiny_model

module = sys.modules["brodmann.evaluate.collateral"]  # the function has its name

TEXTS = ["The ferry left the harbour.", "x", "是多少？", "A longer text about bread, tea and rain."]


def opened(family="llama", dtype=torch.float64):
    return load_model(*tiny_model(family, dtype))


def half_of_layer(model, layer=1):
    mask = torch.zeros(model.n_layers, model.n_neurons, dtype=torch.bool)
    mask[layer, ::2] = True
    return NeuronSet.from_mask(mask)


def slow_log_probs(model, texts):
    """Every text on its own."""
    rows, targets = [], []
    for text in texts:
        ids = torch.tensor([model.tokenizer(text)["input_ids"]])
        if ids.shape[1] < 2:
            continue
        with torch.no_grad():
            rows.append(model.hf(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1))
        targets.append(ids[0, 1:])
    return torch.cat(rows), torch.cat(targets)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "bloom"])
def test_equals_one_text_at_a_time(family):
    model = opened(family)
    neurons = half_of_layer(model)
    before, targets = slow_log_probs(model, TEXTS)
    with erased(model, neurons):
        after, _ = slow_log_probs(model, TEXTS)
    got = collateral(model, lambda: erased(model, neurons), TEXTS)
    gold = [rows[torch.arange(len(targets)), targets].mean().item() for rows in (before, after)]
    assert got.perplexity_before == pytest.approx(math.exp(-gold[0]), rel=1e-6)
    assert got.perplexity_after == pytest.approx(math.exp(-gold[1]), rel=1e-6)
    kl = torch.nn.functional.kl_div(after, before, log_target=True, reduction="batchmean").item()
    assert kl > 1e-3
    assert got.kl == pytest.approx(kl, rel=1e-6)
    assert got.n_tokens == len(targets)


def test_no_change_costs_nothing():
    got = collateral(opened(), nullcontext, TEXTS)
    assert got.kl == pytest.approx(0, abs=1e-12)
    assert got.perplexity_after == got.perplexity_before


def test_neutral_text_is_read_once_for_many_edits(monkeypatch):
    model = opened()
    neutral = read_neutral(model, TEXTS)
    calls = []
    plain = model.hf.forward
    monkeypatch.setattr(model.hf, "forward", lambda *a, **k: calls.append(1) or plain(*a, **k))
    edit = half_of_layer(model)

    @contextmanager
    def edited():
        with erased(model, edit):
            yield

    first = collateral(model, edited, neutral)
    assert len(calls) == len(neutral.batches)
    monkeypatch.undo()
    assert first == collateral(model, edited, TEXTS)


def test_long_texts_are_cut_and_batches_stay_small(monkeypatch):
    model = opened(dtype=torch.float32)
    monkeypatch.setattr(module, "WINDOW", 16)
    neutral = read_neutral(model, ["bread " * 40, *TEXTS])
    assert max(batch.input_ids.shape[1] for batch in neutral.batches) == 16
    # The tokenizer starts a text with BOS, and so does each window: all of a text is predicted.
    texts = ["bread " * 40, *TEXTS]
    bodies = [model.tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    assert neutral.n_tokens == sum(len(ids) for ids in bodies)
    firsts = {int(first) for batch in neutral.batches for first in batch.input_ids[:, 0]}
    assert firsts == {model.tokenizer.bos_token_id}
    assert not any(log_probs.requires_grad for log_probs in neutral.log_probs)


def test_many_tokens_are_kept_in_half_precision(monkeypatch):
    model = opened(dtype=torch.float32)
    exact = collateral(model, lambda: erased(model, half_of_layer(model)), TEXTS)
    monkeypatch.setattr(module, "KEPT_ELEMENTS", 10)
    neutral = read_neutral(model, TEXTS)
    assert neutral.log_probs[0].dtype == torch.float16
    rough = collateral(model, lambda: erased(model, half_of_layer(model)), neutral)
    assert rough.kl == pytest.approx(exact.kl, abs=2e-3)


def test_no_text():
    with pytest.raises(DataError, match="two tokens"):
        collateral(opened("qwen2"), nullcontext, ["x"])


def test_the_bundled_text():
    texts = neutral_texts()
    assert len(texts) >= 20 and len(set(texts)) == len(texts)
    assert sum("一" <= letter <= "鿿" for letter in "".join(texts)) > 30
    assert not any(letter.isdigit() for letter in "".join(texts))
    assert 350 < len(" ".join(texts).split()) < 700
