"""Equal erasure: known neurons do the known harm, and each number as computed step by step."""

import random

import pytest
import torch

from brodmann.data.example import Example
from brodmann.errors import InputError, MismatchError, RunError
from brodmann.evaluate import evaluate, paired_difference, permutation_p, random_sets
from brodmann.evaluate.equal_erasure import equal_erasure, equal_parts
from brodmann.interventions import erased
from brodmann.models.load import load_model
from brodmann.neurons import NeuronScores, NeuronSet
from tests.tiny import planted_model
from tests.tiny.opened import opened

PLANTED = ((0, 5), (1, 17), (2, 40))
IDLE = ((0, 1), (1, 2), (2, 3))


def questions(planted):
    return [
        Example(prompt, answer, delimiter=delimiter, meta={"scorer": "text"})
        for prompt, delimiter, answer in planted.examples
    ]


@pytest.fixture(scope="module")
def planted():
    made = planted_model(planted=PLANTED)
    return load_model(made.hf, made.tokenizer), questions(made)


def scores_of(values, provenance):
    values = values.double()
    return NeuronScores.from_sums(
        values[None], torch.tensor([1]), values**2, torch.ones_like(values, dtype=torch.bool),
        dtype=torch.float64, provenance=provenance,
    )  # fmt: skip


def origin(model):
    return {"model": model.name, "fingerprint": model.fingerprint}


def named_sets(model):
    """The planted neurons, and a larger set of idle ones of which three score highest."""
    own = origin(model)
    shape = model.real.shape
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0)) / 10
    for sign, pair in zip((1, -1, 1), IDLE, strict=True):
        values[pair] = 5 * sign
    scores = scores_of(values, own)
    known = NeuronSet.from_pairs(PLANTED, *shape, provenance=own)
    return [("planted", known), ("idle", scores.top(6))], {"idle": scores}


@pytest.fixture(scope="module")
def found(planted):
    model, examples = planted
    return equal_erasure(model, equal_parts(*named_sets(model)), examples, draws=19, seed=3)


class TestEqualParts:
    def test_every_part_has_the_smallest_size_and_the_strongest_neurons(self, planted):
        sets, scores = named_sets(planted[0])
        first, second = equal_parts(sets, scores)
        assert first.neurons == sets[0][1] and first.name == "planted"
        assert set(second.neurons) == set(IDLE)  # one of them by a negative score
        assert second.whole == sets[1][1] and len(second.whole) == 6

    def test_an_empty_set_is_refused_by_name(self):
        sets = [
            (name, NeuronSet.from_pairs([(0, 0)][:n], 2, 5)) for name, n in (("a", 1), ("b", 0))
        ]
        with pytest.raises(InputError, match="b is empty"):
            equal_parts(sets, {})

    def test_a_larger_set_needs_scores(self):
        sets = [("small", NeuronSet.from_pairs([(0, 0)], 2, 5))]
        sets += [("large", NeuronSet.from_pairs([(0, 0), (1, 4)], 2, 5))]
        with pytest.raises(
            InputError, match="scores beside large, to take the strongest 1 of its 2"
        ):
            equal_parts(sets, {})

    def test_scores_of_another_model_are_refused(self):
        whole = NeuronSet.from_pairs([(0, 0), (1, 4)], 2, 5, provenance={"fingerprint": "f"})
        others = scores_of(torch.rand(2, 5), {"model": "m", "fingerprint": "g"})
        sets = [("small", NeuronSet.from_pairs([(0, 0)], 2, 5)), ("large", whole)]
        with pytest.raises(MismatchError):
            equal_parts(sets, {"large": others})


class TestEqualErasure:
    def test_planted_neurons_do_the_harm_and_others_none(self, found):
        unedited, (carriers, idle) = found
        assert unedited.accuracy == 1.0
        assert (carriers["erased"], idle["erased"]) == (3, 3)
        assert carriers["accuracy"] == 0.0 and carriers["d_accuracy"] == -1.0
        assert carriers["d_margin"] < -2 < -0.5 < idle["d_margin"]
        assert carriers["random_d_margin_rank"] == 1
        assert carriers["random_d_margin_p"] == pytest.approx(1 / 20)
        assert idle["accuracy"] == 1.0 and idle["random_d_accuracy_p"] == 1.0

    def test_every_number_equals_the_steps_done_by_hand(self, found, planted):
        model, examples = planted
        unedited, (_, row) = found
        part = equal_parts(*named_sets(model))[1]
        margins = []
        drawn = random_sets(part.neurons, 19, seed=3, avoid=part.whole)
        for neurons in (part.neurons, *drawn):
            with erased(model, neurons):
                margins.append([one["margin"] for one in evaluate(model, examples).rows])
        change = paired_difference([one["margin"] for one in unedited.rows], margins[0], seed=3)
        others = [sum(one) / len(one) - unedited.margin for one in margins[1:]]
        assert row["d_margin"] == pytest.approx(change.mean)
        assert (row["d_margin_low"], row["d_margin_high"]) == pytest.approx(change.interval)
        assert row["random_d_margin"] == pytest.approx(sum(others) / 19)
        assert row["random_d_margin_worst"] == pytest.approx(min(others))
        place = permutation_p(-change.mean, [-other for other in others])
        assert (row["random_d_margin_rank"], row["random_d_margin_p"]) == (place.rank, place.p)

    def test_few_draws_give_a_rank_and_no_p(self, planted):
        model, examples = planted
        parts = equal_parts(*named_sets(model))[:1]
        (row,) = equal_erasure(model, parts, examples[:4], draws=2)[1]
        assert row["random_d_margin_rank"] == 1 and row["random_d_margin_p"] is None
        assert row["random_draws"] == 2

    def test_examples_of_one_expression_are_drawn_together(self, planted):
        model, examples = planted
        rng = random.Random(0)
        repeated = [
            Example(e.prompt, e.answer, delimiter="", meta={"scorer": "text", "expression": name})
            for e, name in zip(examples, rng.choices("ab", k=len(examples)), strict=True)
        ]
        parts = equal_parts(*named_sets(model))[:1]
        widths = []
        for asked in (examples, repeated):
            (row,) = equal_erasure(model, parts, asked, draws=1)[1]
            widths.append(row["d_margin_high"] - row["d_margin_low"])
        assert widths[0] != widths[1]

    def test_a_set_that_fills_its_layer_is_drawn_from_the_whole_layer(self, planted):
        model, examples = planted
        pairs = [(1, neuron) for neuron in range(48)]
        sets = [("layer", NeuronSet.from_pairs(pairs, 3, 48, provenance=origin(model)))]
        (row,) = equal_erasure(model, equal_parts(sets, {}), examples[:3], draws=1)[1]
        assert row["random_d_margin"] == pytest.approx(row["d_margin"])

    def test_the_model_is_as_before(self, planted):
        model, examples = planted
        before = evaluate(model, examples[:3]).margin
        equal_erasure(model, equal_parts(*named_sets(model)), examples[:3], draws=1)
        assert evaluate(model, examples[:3]).margin == before

    def test_sets_of_another_model_and_no_draws_are_refused_before_the_work(self, planted):
        model, examples = planted
        parts = equal_parts(*named_sets(model))
        with pytest.raises(InputError, match="one random set or more beside each effect; got 0"):
            equal_erasure(model, parts, examples, draws=0)
        with pytest.raises(MismatchError, match="got neurons of"):
            equal_erasure(opened("llama"), parts, examples)

    def test_a_measurement_that_is_not_finite_is_no_result(self, planted):
        model, examples = planted
        parts = equal_parts(*named_sets(model))
        weight = model.hf.lm_head.weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.mul_(torch.finfo(weight.dtype).max)
        try:
            # The same weights as far as the fingerprint of the opened model goes.
            with pytest.raises(RunError, match="some of 'margin' are not"):
                equal_erasure(model, parts, examples[:2], draws=1)
        finally:
            with torch.no_grad():
                weight.copy_(kept)
