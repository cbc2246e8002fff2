"""`evaluate` on models whose answers are known, and against one text at a time."""

import random

import pytest
import torch
from tokenizers import processors

import brodmann as bm
from brodmann.data.example import Example
from brodmann.errors import DataError, InputError
from brodmann.evaluate import evaluate
from brodmann.interventions import erased
from brodmann.models.load import load_model
from brodmann.models.tokens import tokenise_answer
from brodmann.neurons import NeuronSet
from tests.reference.evaluation import answer_logprob, answer_margin, greedy
from tests.tiny import planted_model, tiny_model

FAMILIES = pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3_text", "bloom", "qwen3_moe"])


def opened(family="llama", dtype=torch.float64):
    return load_model(*tiny_model(family, dtype))


def sums(n=11, **more):
    rng = random.Random(0)
    pairs = [(rng.randint(1, 99), rng.randint(1, 9)) for _ in range(n)]
    meta = {"scorer": "integer", "capability": "add"} | more
    return [
        Example("so " * (i % 4) + f"{a}+{b}=", str(a + b), meta=meta | {"expression": f"{a}+{b}"})
        for i, (a, b) in enumerate(pairs)
    ]


def letters(n=5):
    rng = random.Random(1)
    return [
        Example(
            "Which? " + "x" * i, rng.choice("ABCD"), choices=("A", "B", "C", "D"),
            meta={"scorer": "choice"},
        )
        for i in range(n)
    ]  # fmt: skip


LABELS = [
    Example("1+1=2?", "Yes", choices=("Yes", "No")),
    Example("the 1+1=3? the", "No", choices=("Yes", "No")),
    Example("1", "not at all", choices=("Yes", "No", "not at all")),
]


@FAMILIES
@pytest.mark.parametrize("batch_size", [3, "auto"])
def test_free_answers_equal_one_text_at_a_time(family, batch_size):
    model = opened(family)
    examples = sums()
    result = evaluate(model, examples, batch_size=batch_size)
    assert [row["index"] for row in result.rows] == list(range(len(examples)))
    for example, row in zip(examples, result.rows, strict=True):
        text = tokenise_answer(model, example.prompt, example.delimiter, example.answer)
        margin = answer_margin(model.hf, text.prompt_ids, text.answer_ids)
        logprob = answer_logprob(model.hf, text.prompt_ids, text.answer_ids)
        assert row["margin"] == pytest.approx(margin, abs=1e-5)
        assert row["logprob"] == pytest.approx(logprob, abs=1e-5)
        assert row["n_tokens"] == len(text.answer_ids)
        longest = len(text.answer_ids) + 4
        whole = greedy(model.hf, text.prompt_ids, longest, {model.tokenizer.eos_token_id})
        assert model.tokenizer.decode(whole, skip_special_tokens=True).startswith(
            row["output"].rstrip("\ufffd")  # half a character
        )


@FAMILIES
def test_options_equal_one_text_at_a_time(family):
    model = opened(family)
    examples = [*LABELS, *letters()]
    for example, row in zip(examples, evaluate(model, examples).rows, strict=True):
        texts = [
            tokenise_answer(model, example.prompt, example.delimiter, option)
            for option in example.choices
        ]
        n_prompt = min(text.n_prompt for text in texts)  # a delimiter of its own is the option's
        expected = [
            answer_logprob(model.hf, text.ids[:n_prompt], text.ids[n_prompt:]) for text in texts
        ]
        assert row["choice_logprobs"] == pytest.approx(expected, abs=1e-5)
        best = max(range(len(expected)), key=expected.__getitem__)
        gold = example.choices.index(example.answer)
        assert row["predicted"] == example.choices[best]
        assert row["correct"] == (best == gold)
        wrong = max(value for i, value in enumerate(expected) if i != gold)
        assert row["margin"] == pytest.approx(expected[gold] - wrong, abs=1e-5)
        scaled = [v / len(option) for v, option in zip(expected, example.choices, strict=True)]
        best = max(range(len(scaled)), key=scaled.__getitem__)
        assert row["predicted_normalised"] == example.choices[best]


def test_options_that_disagree_on_the_delimiter_are_compared_with_it():
    """With merges of a space and a digit, " 1" is one token and " x" is two."""
    model = opened("gpt2")
    example = Example("a=", "1", choices=("1", "x"))
    row = evaluate(model, [example]).rows[0]
    prompt = model.tokenizer("a=")["input_ids"]
    for option, got in zip((" 1", " x"), row["choice_logprobs"], strict=True):
        ids = model.tokenizer(option)["input_ids"]
        assert got == pytest.approx(answer_logprob(model.hf, prompt, ids), abs=1e-5)
    assert len(model.tokenizer(" 1")["input_ids"]) != len(model.tokenizer(" x")["input_ids"])


def test_a_planted_capability_is_right_until_it_is_erased():
    planted = planted_model()
    model = load_model(planted.hf, planted.tokenizer)
    examples = [
        Example(prompt, answer, delimiter, meta={"scorer": "integer"})
        for prompt, delimiter, answer in planted.examples
    ]
    neurons = NeuronSet.from_pairs(planted.planted, model.n_layers, model.n_neurons)
    before = evaluate(model, examples)
    with erased(model, neurons):
        during = evaluate(model, examples)
    assert before.accuracy == 1.0 and before.format_rate == 1.0 and before.margin > 0
    assert during.accuracy < 0.2 and during.margin < 0
    assert evaluate(model, examples).rows == before.rows


def test_ties_go_to_a_wrong_option():
    hf, tokenizer = tiny_model("llama")
    torch.nn.init.zeros_(hf.get_output_embeddings().weight)
    model = load_model(hf, tokenizer)
    result = evaluate(model, letters())
    assert result.accuracy == 0.0 and result.margin == pytest.approx(0.0, abs=1e-6)
    for example, row in zip(letters(), result.rows, strict=True):
        assert row["predicted"] == next(c for c in "ABCD" if c != example.answer)


def test_prompts_of_one_token_without_bos():
    model = opened("qwen2")
    result = evaluate(model, [Example("a", "7", delimiter="\n"), Example("=" * 9, "12")])
    assert result.n == 2


def test_the_default_scorer():
    model = opened()
    named = Example("a", "7", meta={"scorer": "text"})
    examples = [Example("a", "1,000"), Example("a", "x"), LABELS[0], named]
    scorers = [row["scorer"] for row in evaluate(model, examples).rows]
    assert scorers == ["integer", "text", "choice", "text"]
    assert evaluate(model, LABELS, scorer="text").scorer == "text"


def test_meta_and_provenance_are_kept():
    model = opened()
    result = evaluate(model, sums(4), batch_size=2)
    assert result.rows[0]["capability"] == "add" and "+" in result.rows[0]["expression"]
    assert result.provenance["fingerprint"] == model.fingerprint
    plan = result.provenance["batches"]
    assert sorted(index for batch in plan for index in batch) == [0, 1, 2, 3]


def test_no_more_tokens_than_asked_for_or_than_fit():
    model = opened("gpt2")
    short = evaluate(model, sums(4), max_new_tokens=1)
    assert all(len(row["output"]) <= 3 for row in short.rows)  # " 12" is the longest token
    prompt = "x" * (model.max_tokens - 3)
    result = evaluate(model, [Example(prompt, "z", delimiter="", meta={"scorer": "text"})])
    assert result.n == 1


def test_the_tokenizer_is_left_alone():
    hf, tokenizer = tiny_model("llama")
    assert tokenizer.pad_token is None
    model = load_model(hf, tokenizer)
    evaluate(model, sums(3))
    assert tokenizer.pad_token is None and tokenizer.padding_side == "right"


def test_chat_template():
    hf, tokenizer = tiny_model("llama", torch.float64)
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}U:{{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}A:{% endif %}"
    )
    model = load_model(hf, tokenizer)
    row = evaluate(model, [Example("1+2=", "3")], chat_template="auto").rows[0]
    ids = tokenizer("<s>U:1+2=\nA:3", add_special_tokens=False)["input_ids"]
    assert row["logprob"] == pytest.approx(answer_logprob(hf, ids[:-1], ids[-1:]), abs=1e-5)


def test_a_trailing_end_token_of_the_tokenizer_is_dropped():
    hf, tokenizer = tiny_model("qwen2", torch.float64)
    plain = evaluate(load_model(hf, tokenizer), sums(4))
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}",
        pair=f"$A {end} $B {end}",
        special_tokens=[(end, tokenizer.eos_token_id)],
    )
    assert tokenizer("a")["input_ids"][-1] == tokenizer.eos_token_id
    assert evaluate(load_model(hf, tokenizer), sums(4)).rows == plain.rows


@pytest.mark.parametrize(
    ("example", "scorer", "message"),
    [
        (Example("1", "many"), "integer", "gold answer for the scorer 'integer'; 'many' has none"),
        (Example("1", "B", choices=("A", "C")), "choice", "with the answer 'B' among"),
        (Example("1", "A", choices=("A",)), "choice", "two or more different choices"),
        (Example("1", "A", choices=("A", "A")), "choice", "two or more different choices"),
        (Example("1", "A"), "choice", "Set choices"),
        (Example("1", " "), "text", "gold answer|answer with characters"),
    ],
)
def test_bad_examples(example, scorer, message):
    with pytest.raises(DataError, match=message):
        evaluate(opened(), [example], scorer=scorer)


def test_bad_arguments():
    with pytest.raises(InputError, match="at least one example"):
        evaluate(opened(), [])
    with pytest.raises(InputError, match="max_new_tokens"):
        evaluate(opened(), sums(1), max_new_tokens=0)
    with pytest.raises(InputError, match="batch size"):
        evaluate(opened(), sums(1), batch_size=0)
    with pytest.raises(InputError, match="choice, code, code_text, integer, number, text"):
        evaluate(opened(), sums(1), scorer="words")


def test_the_package_is_the_function_too():
    result = bm.evaluate(opened(), sums(2))
    assert isinstance(result, bm.Evaluation)
