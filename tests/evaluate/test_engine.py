"""The engine against texts read one at a time, without padding and without a cache."""

import random

import pytest
import torch

from brodmann.evaluate import generation, likelihood
from brodmann.evaluate import reading as reading_module
from brodmann.evaluate.generation import end_of_text_ids, generate
from brodmann.evaluate.likelihood import choice_likelihoods, continuation_likelihoods
from brodmann.evaluate.reading import plan_reading, read
from brodmann.models.load import load_model
from tests.reference.evaluation import answer_logprob, answer_margin, greedy
from tests.tiny import TINY_FAMILIES, tiny_model

FAMILIES = pytest.mark.parametrize("family", TINY_FAMILIES)
FLOAT32_SOFTMAX = ("gemma2", "bloom", "mpt")
"""HF's eager attention gives NaN on padding in float64 (see plan_reading): padded in float32."""


def opened(family, dtype=torch.float64):
    return load_model(*tiny_model(family, dtype))


def opened_for_padding(family):
    """The model, and how near its results must come to the reference."""
    if family in FLOAT32_SOFTMAX:
        return opened(family, torch.float32), 2e-4
    return opened(family), 1e-5


def texts(model, seed=0, n=5, longest=14, answer=5):
    rng = random.Random(seed)
    vocabulary = model.hf.config.vocab_size

    def some(k):
        return [rng.randrange(4, vocabulary) for _ in range(k)]

    prompts = [some(length) for length in (1, longest, *(rng.randint(2, 12) for _ in range(n - 2)))]
    return prompts, [some(rng.randint(1, answer)) for _ in prompts]


def never(text):
    return False


@FAMILIES
def test_padded_batches_equal_single_texts(family):
    model, near = opened_for_padding(family)
    prompts, answers = texts(model)
    reading, logits = read(model, prompts)
    for prompt, answer, got in zip(
        prompts, answers, continuation_likelihoods(reading, logits, answers), strict=True
    ):
        assert got.logprob == pytest.approx(answer_logprob(model.hf, prompt, answer), abs=near)
        assert got.margin == pytest.approx(answer_margin(model.hf, prompt, answer), abs=near)


@FAMILIES
def test_generation_equals_single_texts_also_after_scoring(family):
    model, _ = opened_for_padding(family)
    prompts, answers = texts(model, seed=1)
    reading, logits = read(model, prompts)
    continuation_likelihoods(reading, logits, answers)
    lengths = [9, 1, 2, 9, 3]  # the batch shrinks on the way
    got = generate(reading, logits, max_new_tokens=lengths, complete=[never] * len(prompts))
    stops = end_of_text_ids(model)
    for prompt, length, ids in zip(prompts, lengths, got, strict=True):
        assert ids == greedy(model.hf, prompt, length, stops)


@pytest.mark.parametrize("family", FLOAT32_SOFTMAX)
def test_float64_models_whose_padding_breaks_get_prompts_of_one_length(family):
    model = opened(family)
    prompts, answers = texts(model, n=9)
    plan = plan_reading(model, prompts, [len(prompt) for prompt in prompts], "auto")
    assert sorted(index for batch in plan for index in batch) == list(range(9))
    for batch in plan:
        assert len({len(prompts[index]) for index in batch}) == 1
        reading, logits = read(model, [prompts[index] for index in batch])
        scored = continuation_likelihoods(reading, logits, [answers[index] for index in batch])
        for index, got in zip(batch, scored, strict=True):
            expected = answer_logprob(model.hf, prompts[index], answers[index])
            assert got.logprob == pytest.approx(expected, abs=1e-5)


def test_other_models_are_padded():
    model = opened("llama")
    prompts, _ = texts(model)
    assert len(plan_reading(model, prompts, [len(p) for p in prompts], "auto")) == 1


def test_options_of_unequal_number_and_length():
    model = opened("gemma3_text")
    prompts, _ = texts(model, seed=2, n=3)
    options = [[[5], [6, 7, 8]], [[9, 10], [11], [12, 13]], [[20], [21]]]
    reading, logits = read(model, prompts)
    got = choice_likelihoods(reading, logits, options)
    assert [len(row) for row in got] == [2, 3, 2]
    for prompt, row, of_row in zip(prompts, got, options, strict=True):
        for likely, option in zip(row, of_row, strict=True):
            assert likely.logprob == pytest.approx(
                answer_logprob(model.hf, prompt, option), abs=1e-5
            )


def test_long_answers_are_read_in_parts(monkeypatch):
    model = opened("qwen3")
    prompts, _ = texts(model, n=2)
    answers = [list(range(4, 24)), [30, 31, 32]]
    whole = continuation_likelihoods(*read(model, prompts), answers)
    monkeypatch.setattr(likelihood, "LOGIT_ELEMENTS", 3 * 2 * model.hf.config.vocab_size)
    reading, logits = read(model, prompts)
    sizes = []
    plain = type(reading).extend
    monkeypatch.setattr(
        type(reading),
        "extend",
        lambda self, ids, mask=None: sizes.append(ids.shape[1]) or plain(self, ids, mask),
    )
    parts = continuation_likelihoods(reading, logits, answers)
    assert max(sizes) == 3 and sum(sizes) == 19
    for a, b in zip(whole, parts, strict=True):
        assert a.logprob == pytest.approx(b.logprob, abs=1e-10)


def test_one_token_answers_need_no_second_pass(monkeypatch):
    model = opened("llama")
    prompts, _ = texts(model)
    reading, logits = read(model, prompts)
    monkeypatch.setattr(model.hf, "forward", None)
    continuation_likelihoods(reading, logits, [[7]] * len(prompts))


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_a_fork_leaves_the_reading_alone(family):
    model = opened(family)
    prompts, _ = texts(model)
    ids = torch.tensor([[5]] * len(prompts))
    reading, _ = read(model, prompts)
    fork = reading.fork()
    first = fork.extend(ids)
    fork.extend(ids)
    assert torch.equal(reading.extend(ids), first)


def test_generation_ends_at_any_of_several_end_tokens():
    model = opened("llama")
    prompts, _ = texts(model)
    free = generate(*read(model, prompts), max_new_tokens=[6] * 5, complete=[never] * 5)
    stop = free[1][3]
    model.hf.generation_config.eos_token_id = [model.hf.config.vocab_size - 1, stop]
    stopped = generate(*read(model, prompts), max_new_tokens=[6] * 5, complete=[never] * 5)
    assert {stop, model.tokenizer.eos_token_id} <= end_of_text_ids(model)
    assert [ids[: ids.index(stop)] if stop in ids else ids for ids in free] == stopped


def test_generation_ends_when_complete():
    model = opened("llama")
    prompts, _ = texts(model)
    seen = []

    def complete(text):
        seen.append(text)
        return len(text) >= 2

    got = generate(*read(model, prompts), max_new_tokens=[50] * 5, complete=[complete] * 5)
    texts_out = [generation.decode(model.tokenizer, ids) for ids in got]
    assert seen and all(len(text) < 50 for text in texts_out)


def test_texts_that_end_early_do_not_run_out_of_the_context():
    model = opened("gpt2")
    context = model.max_tokens
    rng = random.Random(0)
    prompts = [[rng.randrange(4, 90) for _ in range(n)] for n in (context - 1, 3, 3, 3)]
    got = generate(
        *read(model, prompts), max_new_tokens=[1, 8, 8, 8], complete=[never] * len(prompts)
    )
    assert len(got[0]) <= 1
    stops = end_of_text_ids(model)
    assert got[1] == greedy(model.hf, prompts[1], 8, stops)


def test_no_noise(recwarn, caplog, capfd):
    hf, tokenizer = tiny_model("llama")
    hf.generation_config.update(temperature=0.6, top_p=0.9, do_sample=True)
    model = load_model(hf, tokenizer)
    prompts, answers = texts(model)
    reading, logits = read(model, prompts)
    continuation_likelihoods(reading, logits, answers)
    generate(reading, logits, max_new_tokens=[2] * 5, complete=[never] * 5)
    assert not list(recwarn) and not caplog.records and capfd.readouterr() == ("", "")


def test_auto_bounds_the_logits_of_a_batch(monkeypatch):
    model = opened("llama")
    prompts = [[5, 6]] * 10
    monkeypatch.setattr(reading_module, "LAST_LOGITS", 3 * model.hf.config.vocab_size)
    assert [len(batch) for batch in plan_reading(model, prompts, [2] * 10, "auto")] == [3, 3, 3, 1]
    assert [len(batch) for batch in plan_reading(model, prompts, [2] * 10, 10)] == [10]
