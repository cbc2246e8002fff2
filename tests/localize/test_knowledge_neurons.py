"""Knowledge Neurons: votes and sets by hand from each prompt's own scores, by the paper's rule."""

import pytest
import torch

from brodmann.data import Example
from brodmann.errors import DataError, InputError
from brodmann.localize import facts_of, knowledge_neurons, locate
from brodmann.models.load import wrap_model
from tests.tiny import planted_model
from tests.tiny.answers import relative_error
from tests.tiny.opened import opened

PARAPHRASES = [
    Example("5+7=", "12", delimiter=""),
    Example("5 plus 7 is", "12"),
    Example("the sum of 5 and 7 =", "12"),
    Example("add 7 to 5:", "12"),
    Example("5 and 7 make", "12"),
]
FACTS = {"sum": PARAPHRASES, "product": [Example("3*3=", "9", delimiter=""), Example("3 x 3", "9")]}


def prompt_scores(model, prompts, **options):
    """Each prompt's attribution alone, from CNL with the paper's sum."""
    options = {"quadrature": "left", "refine": False} | options
    return torch.stack([locate(model, [e], method="cnl", **options).values for e in prompts])


def votes_by_hand(scores, t, sign):
    """1 where a prompt's score passes its threshold upwards, -1 where it does downwards."""
    votes = torch.zeros_like(scores)
    for vote, prompt in zip(votes, scores, strict=True):
        highest = {"positive": prompt.max(), "both": prompt.abs().max()}
        lowest = {"negative": prompt.min(), "both": -prompt.abs().max()}
        if sign in highest:
            vote[prompt > t * highest[sign].clamp_min(0)] = 1
        if sign in lowest:
            vote[prompt < t * lowest[sign].clamp_max(0)] = -1
    return votes.mean(0)


@pytest.mark.parametrize("sign", ["positive", "negative", "both"])
@pytest.mark.parametrize("t", [0, 0.2, 0.6])
def test_votes_and_sets_are_those_by_hand(sign, t):
    model = opened("gpt2", torch.float64)
    scores = {fact: prompt_scores(model, prompts, steps=5) for fact, prompts in FACTS.items()}
    for p in (0, 0.7):
        found = knowledge_neurons(model, FACTS, t=t, p=p, sign=sign, steps=5)
        for fact, of_prompts in scores.items():
            votes = votes_by_hand(of_prompts, t, sign)
            assert relative_error(found[fact].scores.values, of_prompts.mean(0)) < 1e-10
            torch.testing.assert_close(found[fact].votes, votes, rtol=0, atol=1e-12)
            assert torch.equal(found[fact].neurons.mask, votes.abs() > p)
            assert votes.any()


def test_the_papers_defaults_and_what_is_told():
    model = opened("gpt2", torch.float64)
    found = knowledge_neurons(model, {"sum": PARAPHRASES})["sum"]
    votes = votes_by_hand(prompt_scores(model, PARAPHRASES, steps=20), 0.2, "positive")
    assert torch.equal(found.neurons.mask, votes > 0.7)
    assert len(found.neurons) > 0
    told = found.neurons.provenance
    assert told["rule"] == {"t": 0.2, "p": 0.7, "sign": "positive"}
    assert (told["method"], told["group"]) == ("kn", "sum")
    assert (told["quadrature"], told["steps"], told["refine"]) == ("left", 20, False)
    assert found.scores.n_samples == len(PARAPHRASES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "k"), [(5, 3), (5, 2), (3, 2), (3, 1), (5, 1)])
def test_a_share_of_exactly_p_is_not_more_than_p(dtype, n, k):
    model = opened("llama", dtype)
    facts = {"sum": PARAPHRASES[:n]}
    found = knowledge_neurons(model, facts, t=0.1, p=k / n, steps=3)["sum"]
    exactly = (found.votes * n).round() == k
    assert exactly.any()
    assert not (found.neurons.mask & exactly).any()
    less = knowledge_neurons(model, facts, t=0.1, p=k / n - 0.01, steps=3)["sum"]
    assert (less.neurons.mask | ~exactly).all()


def test_paraphrases_refine_what_single_prompts_say():
    model = opened("llama", torch.float64)
    each = [
        knowledge_neurons(model, {"one": [prompt]}, steps=5)["one"].neurons
        for prompt in PARAPHRASES
    ]
    refined, strict, any_of = (
        knowledge_neurons(model, {"sum": PARAPHRASES}, p=p, steps=5)["sum"].neurons
        for p in (0.7, 0.99, 0)
    )
    masks = torch.stack([neurons.mask for neurons in each])
    assert torch.equal(strict.mask, masks.all(0))
    assert torch.equal(any_of.mask, masks.any(0))
    assert torch.equal(refined.mask, masks.sum(0) >= 4)
    assert len(strict) < len(any_of)


def test_both_signs_keep_what_expresses_and_what_suppresses():
    model = opened("gpt2", torch.float64)
    found = {
        sign: knowledge_neurons(model, {"a": PARAPHRASES}, t=0.02, sign=sign, steps=5)["a"]
        for sign in ("positive", "negative", "both")
    }
    assert (found["positive"].votes >= 0).all()
    assert (found["negative"].votes <= 0).all()
    assert (found["positive"].neurons & found["negative"].neurons).counts.sum() == 0
    signs = found["both"].votes[found["both"].neurons.mask].sign()
    assert set(signs.tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("target", ["first", "sum_logprob"])
def test_other_targets_and_sites_are_those_of_cnl(target):
    model = opened("llama", torch.float64)
    options = {"target": target, "site": "gate_pre", "steps": 4}
    found = knowledge_neurons(model, {"sum": PARAPHRASES}, **options)["sum"]
    scores = prompt_scores(model, PARAPHRASES, **options)
    assert relative_error(found.scores.values, scores.mean(0)) < 1e-6
    assert torch.equal(found.votes, votes_by_hand(scores, 0.2, "positive"))


def test_batches_and_memory_do_not_matter():
    model = opened("gpt2", torch.float64)
    expected = knowledge_neurons(model, FACTS, steps=4)
    for options in ({"batch_size": 1}, {"batch_size": 4}, {"memory_gb": 1e-6}):
        found = knowledge_neurons(model, FACTS, steps=4, **options)
        for fact in FACTS:
            assert torch.equal(found[fact].votes, expected[fact].votes)
            assert found[fact].neurons == expected[fact].neurons


def test_facts_in_one_pass_are_those_in_passes_of_their_own():
    model = opened("gpt2", torch.float64)
    together = knowledge_neurons(model, FACTS, steps=4)
    for fact, prompts in FACTS.items():
        alone = knowledge_neurons(model, {fact: prompts}, steps=4)[fact]
        assert together[fact].neurons == alone.neurons
        assert torch.equal(together[fact].votes, alone.votes)


def test_as_a_method_it_gives_the_mean_attribution():
    model = opened("gpt2", torch.float64)
    found = locate(model, PARAPHRASES, method="kn", steps=4, t=0.3, sign="both")
    expected = prompt_scores(model, PARAPHRASES, steps=4).mean(0)
    assert relative_error(found.values, expected) < 1e-10
    assert found.provenance["method"] == "kn"


# Each layer's planted neuron alone nearly gives the answer where the ones above it write too: the
# gated one on top scores four times as much as those below, so that t=0.2 would keep it alone.
@pytest.mark.parametrize("kind", ["gated", "plain", "post_norm"])
def test_planted_neurons_are_kept_and_no_others(kind):
    planted = planted_model(kind=kind)
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    prompts = [Example(prompt, answer, delimiter=d) for prompt, d, answer in planted.examples]
    found = knowledge_neurons(model, {"a": prompts[:10]}, t=0.1)["a"]
    assert tuple(found.neurons) == planted.planted


def test_a_finished_checkpoint_gives_the_same_again(tmp_path):
    model = opened("gpt2")
    path = tmp_path / "state.safetensors"
    first = knowledge_neurons(model, FACTS, steps=3, checkpoint=path)
    again = knowledge_neurons(model, FACTS, steps=3, checkpoint=path)
    for fact in FACTS:
        assert torch.equal(first[fact].votes, again[fact].votes)
        assert torch.equal(first[fact].scores.values, again[fact].scores.values)


@pytest.mark.parametrize("other", [{"t": 0.5}, {"sign": "both"}])
def test_a_checkpoint_of_other_votes_is_refused(tmp_path, other):
    model = opened("gpt2")
    path = tmp_path / "state.safetensors"
    knowledge_neurons(model, FACTS, steps=3, checkpoint=path)
    with pytest.raises(InputError, match="another model, data, options"):
        knowledge_neurons(model, FACTS, steps=3, checkpoint=path, **other)


def test_prompts_are_grouped_by_the_fact_they_ask_for():
    rows = [Example(f"prompt {i}", "a", meta={"fact": fact}) for i, fact in enumerate("bab")]
    rows.append(Example("a number", "a", meta={"fact": 7}))
    grouped = facts_of(rows)
    assert list(grouped) == ["b", "a", "7"]
    assert grouped["b"] == [rows[0], rows[2]]
    assert grouped["7"] == [rows[3]]
    unnamed = [Example("one", "a"), Example("two", "a", meta={"scorer": "exact"})]
    assert facts_of(unnamed) == {"examples": unnamed}
    assert facts_of([]) == {"examples": []}
    with pytest.raises(InputError, match="1 of 2") as caught:
        facts_of([rows[0], unnamed[0]])
    assert "\n" not in str(caught.value)


def test_bad_input_is_refused_in_one_line():
    model = opened("gpt2")
    for options, named in [
        ({"t": -0.1}, "Expected t from 0"),
        ({"t": 1}, "Expected t from 0"),
        ({"t": float("nan")}, "Expected t from 0"),
        ({"p": 1.0}, "Expected p from 0"),
        ({"p": -1}, "Expected p from 0"),
        ({"sign": "up"}, "'up'"),
        ({"site": "gate_pre"}, "'up_pre'"),
        ({"target": "last"}, "'last'"),
        ({"quadrature": "simpson"}, "simpson"),
        ({"steps": 0}, "got 0"),
    ]:
        with pytest.raises(InputError, match=named) as caught:
            knowledge_neurons(model, FACTS, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="none"):
        knowledge_neurons(model, {"sum": []})
    with pytest.raises(InputError, match="none"):
        knowledge_neurons(model, {})
