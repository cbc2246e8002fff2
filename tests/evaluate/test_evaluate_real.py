"""Evaluation on the two bundled models, against one text at a time and HF's own generate."""

from contextlib import nullcontext

import pytest
import torch

from brodmann.data import load_examples
from brodmann.evaluate import collateral, evaluate, neutral_texts
from brodmann.evaluate.generation import generate
from brodmann.evaluate.reading import read
from brodmann.models.tokens import tokenise_answer
from tests.reference.evaluation import answer_logprob, answer_margin

BOTH = pytest.mark.parametrize("name", ["smollm2", "gemma3"])


def some(shots, limit=1, task="dg"):
    spec = f"arithmetic/add:task={task},template=plain,shots={shots},max=9"
    return load_examples(spec, split="train", limit=limit)


@pytest.mark.real_model
@BOTH
def test_padded_batches_equal_single_texts(name, request):
    model = request.getfixturevalue(name)
    examples = [*some(4), *some(0), *some(1, task="mq")]
    result = evaluate(model, examples, batch_size=len(examples))
    for example, row in zip(examples, result.rows, strict=True):
        text = tokenise_answer(model, example.prompt, example.delimiter, example.answer)
        expected = answer_logprob(model.hf, text.prompt_ids, text.answer_ids)
        assert row["logprob"] == pytest.approx(expected, abs=2e-3)
        if row["scorer"] == "integer":
            margin = answer_margin(model.hf, text.prompt_ids, text.answer_ids)
            assert row["margin"] == pytest.approx(margin, abs=2e-3)


@pytest.mark.real_model
@BOTH
def test_generation_equals_hf(name, request):
    model = request.getfixturevalue(name)
    texts = ["The capital of France is", "2+2=4\n3+5=", "春天来了，"]
    prompts = [model.tokenizer(text)["input_ids"] for text in texts]
    got = generate(*read(model, prompts), max_new_tokens=[5] * 3, complete=[lambda text: False] * 3)
    for prompt, ids in zip(prompts, got, strict=True):
        inputs = torch.tensor([prompt])
        whole = model.hf.generate(
            inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=5
        )
        assert whole[0, len(prompt) :].tolist()[: len(ids)] == ids


@pytest.mark.real_model
def test_the_neutral_text_is_read_well(smollm2):
    got = collateral(smollm2, nullcontext, neutral_texts())
    assert 450 < got.n_tokens < 900
    assert 10 < got.perplexity_before < 100 and got.kl == pytest.approx(0, abs=1e-5)
