"""Causal tracing is what restoring and rerunning gives, cell by cell, on every family."""

from dataclasses import replace

import pytest
import torch

from brodmann.data import Fact
from brodmann.errors import DataError, InputError, ModelError
from brodmann.localize.causal_tracing import causal_tracing, subject_noise, traces
from brodmann.localize.trace import layers_as_neurons, read_traces, top_layers, write_trace
from brodmann.models.load import wrap_model
from brodmann.models.tokens import tokenise_answer
from tests.reference.causal_tracing import Tracer
from tests.tiny.families import TINY_FAMILIES
from tests.tiny.opened import opened
from tests.tiny.planted_fact import planted_fact

FACT = Fact(id="f", subject="kq", relation="r", prompt="a kq is", answer="zu")
OTHER = Fact(id="g", subject="wv", relation="r", prompt="wv is", answer="x")
KINDS = ("residual", "mlp", "attention")
OPTIONS = {"window": 2, "draws": 3}


def noise_of(model, trace, fact):
    """The noise that a trace was made with, drawn again."""
    rule, (start, end) = trace.provenance["rule"], trace.subject
    shape = (rule["draws"], end - start, model.width)
    return subject_noise(fact, shape, rule["noise_std"], rule["seed"])


def reference(model, trace, fact, kinds=KINDS, by="first", start=None):
    """Clean, corrupted, and the effects of the cells from ``start`` on, by rerunning each."""
    text = tokenise_answer(model, fact.prompt, fact.delimiter, fact.answer)
    answer = list(trace.answer_ids)
    last = text.n_prompt + len(answer) - 1
    positions = list(range(text.n_prompt - 1, last))
    rerun = Tracer(
        model.hf, list(text.ids[:last]), trace.subject[0], noise_of(model, trace, fact), positions
    )
    window = trace.provenance["rule"]["window"]

    def together(p):
        return p.mean(-1) if by == "mean" else p.prod(-1)

    rows = together(rerun.probabilities(answer, {}))
    effects = {kind: torch.zeros(text.n_prompt, model.n_layers) for kind in kinds}
    for kind, found in effects.items():
        for token in range(trace.subject[0] if start is None else start, text.n_prompt):
            for layer in range(model.n_layers):
                restored = together(rerun.cell(kind, token, layer, window, answer))[1:]
                found[token, layer] = restored.mean() - rows[1:].mean()
    return float(rows[0]), float(rows[1:].mean()), effects


def check(model, trace, fact, **options):
    clean, corrupted, effects = reference(model, trace, fact, **options)
    assert trace.clean == pytest.approx(clean, abs=1e-5)
    assert trace.corrupted == pytest.approx(corrupted, abs=1e-5)
    for kind, expected in effects.items():
        largest = float(expected.abs().max())  # that of a product of probabilities is small
        limit = min(1e-5, 0.01 * largest)
        assert largest > 0
        torch.testing.assert_close(trace.effects[kind], expected, rtol=0, atol=limit)


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_equals_restoring_and_rerunning_every_cell(family):
    model = opened(family)
    (trace,) = causal_tracing(model, [FACT], **OPTIONS)
    check(model, trace, FACT)


def test_in_front_of_the_subject_nothing_changes():
    model = opened("gemma3_text")
    (trace,) = causal_tracing(model, [FACT], kinds=["mlp"], **OPTIONS)
    assert trace.subject[0] == 3
    assert not trace.effects["mlp"][:3].any()
    check(model, trace, FACT, kinds=["mlp"], start=0)


@pytest.mark.parametrize("family", ["llama", "gpt2", "bloom"])
@pytest.mark.parametrize("by", ["first", "product", "mean"])
def test_the_facts_own_answer_of_several_tokens(family, by):
    model = opened(family)
    (trace,) = causal_tracing(
        model, [FACT], kinds=["attention"], target="answer", answer_tokens=by, **OPTIONS
    )
    text = tokenise_answer(model, FACT.prompt, FACT.delimiter, FACT.answer)
    expected = text.answer_ids[:1] if by == "first" else text.answer_ids
    assert trace.answer_ids == expected
    check(model, trace, FACT, kinds=["attention"], by=by)


def test_the_own_answer_is_the_models_most_probable_token():
    model = opened("qwen2")
    (trace,) = causal_tracing(model, [FACT], kinds=["residual"], **OPTIONS)
    text = tokenise_answer(model, FACT.prompt, FACT.delimiter, FACT.answer)
    with torch.no_grad():
        p = model.hf(torch.tensor([text.prompt_ids])).logits[0, -1].softmax(-1)
    assert trace.answer_ids == (int(p.argmax()),)
    assert trace.clean == pytest.approx(float(p.max()), abs=1e-6)
    assert trace.answer == model.tokenizer.decode(list(trace.answer_ids))


@pytest.mark.parametrize("window", [1, 3, 4, 99])
def test_windows_of_every_width(window):
    model = opened("llama")
    (trace,) = causal_tracing(model, [OTHER], window=window, draws=2)
    check(model, trace, OTHER)


@pytest.mark.parametrize("family", ["llama", "gpt_neo"])
def test_batches_change_nothing(family):
    model = opened(family)
    (whole,) = causal_tracing(model, [FACT], **OPTIONS)
    (single,) = causal_tracing(model, [FACT], batch_size=1, **OPTIONS)
    for kind in KINDS:
        torch.testing.assert_close(whole.effects[kind], single.effects[kind], rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "gpt_neo"])
def test_the_subjects_last_token_alone_gives_the_same_numbers(family):
    (whole,) = causal_tracing(opened(family), [FACT], **OPTIONS)
    (trace,) = causal_tracing(opened(family), [FACT], tokens="subject-last", **OPTIONS)
    start, end = trace.subject
    for kind in KINDS:
        assert torch.equal(trace.by_layer(kind), whole.by_layer(kind))
        traced = trace.effect(kind).isfinite().all(-1)
        assert traced.tolist() == [t < start or t == end - 1 for t in range(len(trace.tokens))]
    assert top_layers(trace, 2) == top_layers(whole, 2)


def test_the_noise_is_the_facts_own_in_any_company():
    model = opened("llama")
    alone = causal_tracing(model, [FACT], **OPTIONS)[0]
    first, second = causal_tracing(model, [OTHER, FACT], **OPTIONS)
    noise = [noise_of(model, trace, FACT) for trace in (alone, second)]
    sizes = [trace.provenance["rule"]["noise_std"] for trace in (alone, second)]
    torch.testing.assert_close(noise[0] / sizes[0], noise[1] / sizes[1])
    assert sizes[0] != sizes[1] == first.provenance["rule"]["noise_std"]
    other_seed = causal_tracing(model, [FACT], seed=1, **OPTIONS)[0]
    assert other_seed.corrupted != alone.corrupted
    again = causal_tracing(model, [FACT], **OPTIONS)[0]
    assert again.corrupted == alone.corrupted
    assert all(torch.equal(again.effects[kind], alone.effects[kind]) for kind in KINDS)


def test_the_noise_is_that_many_standard_deviations_of_subject_embeddings():
    model = opened("gemma3_text")  # whose embedding module scales what it gives
    (trace,) = causal_tracing(model, [FACT], kinds=["mlp"], noise=2.5, **OPTIONS)
    ids = model.tokenizer.convert_tokens_to_ids(["k", "q"])
    spread = model.hf.get_input_embeddings()(torch.tensor(ids)).std()
    assert trace.provenance["rule"]["noise_std"] == pytest.approx(2.5 * float(spread))


def test_what_was_traced_before_counts_for_the_noise_and_is_left_out():
    model = opened("llama")
    both = causal_tracing(model, [FACT, OTHER], **OPTIONS)
    (rest,) = traces(model, [FACT, OTHER], done={"f"}, **OPTIONS)
    assert rest.fact == "g"
    assert all(torch.equal(rest.effects[kind], both[1].effects[kind]) for kind in KINDS)


def test_the_model_is_as_it_was_also_after_an_exception(monkeypatch):
    model = opened("gemma2")
    ids = torch.tensor([[3, 5, 8]])
    before = model.hf(ids).logits
    implementation = model.hf.config._attn_implementation
    monkeypatch.setattr("brodmann.models.restart.sublayers_replaced", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        causal_tracing(model, [FACT], **OPTIONS)
    assert torch.equal(model.hf(ids).logits, before)
    assert model.hf.config._attn_implementation == implementation
    assert not any(module._forward_hooks for module in model.hf.modules())


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_a_planted_fact_is_traced_to_its_layer(layer):
    planted = planted_fact(layer)
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    fact = Fact(id="f", subject=planted.subject, relation="", prompt=planted.prompt,
                answer=planted.answer, delimiter="")  # fmt: skip
    (trace,) = causal_tracing(model, [fact], window=1, noise=10, draws=20)
    assert trace.answer == planted.answer and trace.clean > 0.5 > trace.corrupted
    at = trace.subject[1] - 1
    for kind in ("mlp", "residual"):
        effects = trace.effects[kind][at].sort(descending=True)
        assert top_layers(trace, 1, kind) == (layer,) and float(effects.values[0]) > 0.4
        assert float(effects.values[0] - effects.values[1]) > 0.1
    assert int(trace.effects["mlp"].flatten().argmax()) == at * model.n_layers + layer
    assert int(trace.effects["attention"].flatten().argmax()) == (
        (len(trace.tokens) - 1) * model.n_layers + layer + 1
    )


def test_a_row_that_is_not_true_of_the_model_is_refused():
    model = opened("gemma2")
    wrong = replace(model, architecture=replace(model.architecture, attention_post_norm=None))
    with pytest.raises(ModelError, match="adds something else than its attention and MLP"):
        causal_tracing(wrong, [FACT], **OPTIONS)
    nowhere = replace(model, architecture=replace(model.architecture, attention_post_norm="no"))
    with pytest.raises(ModelError, match="'no' in layer 0"):
        causal_tracing(nowhere, [FACT], **OPTIONS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kinds": ["mpl"]}, "kinds out of residual, mlp, attention; got 'mpl'"),
        ({"kinds": []}, "got 'none'"),
        ({"window": 0}, "window of 1 or more; got 0"),
        ({"draws": 0}, "draws of 1 or more"),
        ({"noise": 0}, "noise above 0"),
        ({"noise": float("nan")}, "noise above 0"),
        ({"target": "mine"}, "target out of own, answer"),
        ({"answer_tokens": "mean"}, "target='answer'"),
        ({"batch_size": 0}, "batch size of 1 or more, or 'auto'; got 0"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, said):
    with pytest.raises(InputError) as error:
        traces(opened("llama"), [FACT], **options)  # refused before the first trace is asked for
    assert said in str(error.value) and "\n" not in str(error.value)


def test_no_facts_are_refused():
    with pytest.raises(DataError, match="at least one fact"):
        causal_tracing(opened("llama"), [])


def test_top_layers_are_those_of_the_subjects_last_token():
    model = opened("llama")
    (trace,) = causal_tracing(model, [FACT], **OPTIONS)
    effects = trace.effects["mlp"][trace.subject[1] - 1]
    layers = top_layers(trace, 3)
    assert sorted(layers) == [0, 1, 2]
    assert effects[list(layers)].tolist() == effects.sort(descending=True).values.tolist()
    with pytest.raises(InputError, match="from 1 to 3"):
        top_layers(trace, 4)
    (mlp,) = causal_tracing(model, [FACT], kinds=["mlp"], **OPTIONS)
    with pytest.raises(InputError, match="kind out of mlp; got 'residual'"):
        top_layers(mlp, kind="residual")


def test_layers_as_neurons_are_all_of_these_layers():
    model = opened("qwen3_moe")  # 64, 48 and 64 neurons
    neurons = layers_as_neurons(model, [1, 2, 1])
    assert neurons.counts.tolist() == [0, 48, 64]
    assert neurons.provenance["fingerprint"] == model.fingerprint
    with pytest.raises(InputError, match="from 0 to 2; got 3"):
        layers_as_neurons(model, [3])


def test_traces_come_back_from_a_folder(tmp_path):
    found = causal_tracing(opened("llama"), [OTHER, FACT], **OPTIONS)
    for trace in found:
        write_trace(tmp_path, trace)
    back = read_traces(tmp_path)
    assert [trace.fact for trace in back] == ["f", "g"]
    for one, other in zip(back, reversed(found), strict=True):
        assert list(one.effects) == list(KINDS)
        assert all(torch.equal(one.effects[kind], other.effects[kind]) for kind in KINDS)
        for name in ("tokens", "subject", "answer", "answer_ids", "clean", "corrupted"):
            assert getattr(one, name) == getattr(other, name)
        assert one.provenance["rule"]["window"] == 2
    with pytest.raises(InputError, match="folder with traces"):
        read_traces(tmp_path / "nothing")
