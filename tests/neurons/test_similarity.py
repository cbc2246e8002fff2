import math

import pytest
import torch
from hypothesis import assume, given, settings

from brodmann.errors import InputError, MismatchError
from brodmann.neurons import (
    NeuronSet,
    cohesion,
    coincidence,
    coincidence_core,
    iou,
    max_ratio,
    overlap,
    overlap_matrix,
    separability,
    specificity,
)
from tests.neurons.build import sets
from tests.reference import neurons as reference

MEASURES = [overlap, iou, max_ratio]
quick = settings(deadline=None, max_examples=60)


def of(*neurons, n=10):
    return NeuronSet.from_pairs([(0, neuron) for neuron in neurons], 1, n)


@quick
@given(sets(2))
def test_measures_are_the_papers_and_bounded(drawn):
    a, b = drawn
    assume(len(a) and len(b))
    for measure in MEASURES:
        value = measure(a, b)
        assert value == pytest.approx(getattr(reference, measure.__name__)(set(a), set(b)))
        assert measure(b, a) == pytest.approx(value)
        assert 0 <= value <= 1
        assert measure(a, a) == 1
        assert (value == 1) == (a == b)
        assert (value == 0) == (not a & b)
        assert measure(a, b - a) == 0
    assert separability(a, b) == cohesion(a, b) == max_ratio(a, b)
    assert iou(a, b) <= max_ratio(a, b) <= overlap(a, b) + 1e-12


@pytest.mark.parametrize("measure", MEASURES)
def test_empty_sets(measure):
    assert measure(of(), of(1)) == measure(of(1), of()) == 0
    assert math.isnan(measure(of(), of()))


def test_coincidence_pairs_samples():
    first, second = [of(1, 2), of(3), of()], [of(2, 3), of(3), of()]
    assert coincidence(first, second) == (0.5 + 1) / 2
    assert coincidence(first, first) == 1
    with pytest.raises(InputError, match="got 1, 2"):
        coincidence([of(1)], [of(1), of(2)])
    with pytest.raises(InputError, match="got 0, 0"):
        coincidence([], [])


def test_coincidence_core_is_what_all_share():
    assert coincidence_core([of(1, 2, 3), of(2, 3), of(3, 4)]) == 1 / 3
    assert coincidence_core([of(1, 2)]) == 1
    assert math.isnan(coincidence_core([of(), of()]))
    with pytest.raises(InputError, match="got none"):
        coincidence_core([])


def test_specificity_is_within_minus_across():
    groups = {"add": [of(1, 2), of(1, 2)], "sub": [of(3, 4), of(3, 2)]}
    found = specificity(groups)
    assert found.within == (1 + 0.5) / 2
    assert found.across == (0 + 0.5 + 0 + 0.5) / 4
    assert found.difference == found.within - found.across
    assert specificity(groups, iou).within == pytest.approx((1 + 1 / 3) / 2)
    assert math.isnan(specificity({"add": [of(1), of(2)]}).across)


def test_overlap_matrix():
    rows, columns = [of(1, 2), of(3)], [of(1), of(3), of()]
    square = overlap_matrix(rows)
    assert square.tolist() == [[1, 0], [0, 1]] and square.dtype == torch.float64
    assert overlap_matrix(rows, columns).tolist() == [[0.75, 0, 0], [0, 1, 0]]
    assert overlap_matrix(rows, columns, iou)[0, 0] == 0.5
    assert overlap_matrix([], []).shape == (0, 0)


def test_sets_of_different_models_have_no_similarity():
    a = NeuronSet.from_pairs([(0, 1)], 1, 10, provenance={"fingerprint": "a", "model": "a"})
    b = NeuronSet.from_pairs([(0, 1)], 1, 10, provenance={"fingerprint": "b", "model": "b"})
    for measure in MEASURES:
        with pytest.raises(MismatchError):
            measure(a, b)
