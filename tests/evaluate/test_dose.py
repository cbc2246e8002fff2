import pytest
import torch

from brodmann.errors import InputError
from brodmann.evaluate.dose import dose_response
from brodmann.neurons import NeuronSet


class Scores:
    def __init__(self, values):
        self.values = values
        self.provenance = {}


def test_parts_grow_from_the_strongest():
    values = torch.tensor([[9.0, -8.0, 7.0, 0.0], [1.0, -2.0, 3.0, 100.0]])
    mask = torch.tensor([[True, True, True, False], [True, True, True, False]])
    seen = []

    def effect(part):
        seen.append(set(part))
        return float(len(part))

    rows = dose_response(NeuronSet.from_mask(mask), Scores(values), effect, (0.34, 0.5, 1.0))
    assert [row["fraction"] for row in rows] == [0.34, 0.5, 1.0]
    assert [row["neurons"] for row in rows] == [len(part) for part in seen]
    assert seen[1] == {(0, 0), (0, 1), (0, 2)} and seen[2] == set(NeuronSet.from_mask(mask))
    assert seen[0] <= seen[1] <= seen[2]
    assert [row["effect"] for row in rows] == [float(len(part)) for part in seen]


def test_a_bad_fraction_is_refused_before_any_work():
    calls = []
    mask = torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(InputError):
        dose_response(NeuronSet.from_mask(mask), Scores(torch.rand(1, 4)), calls.append, (0.5, 2.0))
    assert not calls
