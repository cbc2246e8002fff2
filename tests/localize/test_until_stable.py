"""Sampling stops at the first round whose halves select the same neurons, and not before."""

import pytest
import torch

from brodmann.data import Example
from brodmann.errors import InputError
from brodmann.localize import UntilStable, cnl, dcsn, locate
from brodmann.models.load import wrap_model
from brodmann.neurons import overlap
from tests.tiny import planted_model
from tests.tiny.answers import relative_error
from tests.tiny.opened import opened

EXAMPLES = [Example(f"{a}+{a // 3}=", str(a + a // 3), delimiter="") for a in range(10, 34)]
OPTIONS = {"dcsn": {}, "cnl": {"steps": 2, "refine": False}}
ROUND = 4


def top_ten(scores):
    return scores.top(k=10)


def found(model, method, examples=EXAMPLES, **options):
    return locate(model, examples, method=method, batch_size=3, **(OPTIONS[method] | options))


def overlap_of_halves(model, method, n):
    scores = found(model, method, EXAMPLES[:n])
    first, second = (top_ten(scores.half(which)) for which in (0, 1))
    return overlap(first, second)


@pytest.fixture(params=["dcsn", "cnl"])
def method(request):
    return request.param


def test_it_stops_at_the_first_round_where_halves_agree(method):
    model = opened("llama", torch.float64)
    rounds = range(ROUND, len(EXAMPLES) + 1, ROUND)
    overlaps = [overlap_of_halves(model, method, n) for n in rounds]
    stops = set()
    for agreement in {min(overlaps), overlaps[1], max(overlaps), 1.0}:
        for minimum in (2, 9, 100):
            rule = UntilStable(agreement, top_ten, minimum=minimum, round_size=ROUND)
            scores = found(model, method, until_stable=rule)
            enough = [
                n
                for n, agree in zip(rounds, overlaps, strict=True)
                if n >= minimum and agree >= agreement
            ]
            expected = enough[0] if enough else len(EXAMPLES)
            assert scores.n_samples == expected
            stops.add(expected)
    assert len(stops) >= 3
    assert {ROUND, len(EXAMPLES)} <= stops


def test_scores_are_those_of_the_samples_read(method):
    model = opened("llama", torch.float64)
    rule = UntilStable(0.01, top_ten, minimum=6, round_size=3)
    scores = found(model, method, until_stable=rule)
    expected = found(model, method, EXAMPLES[:6])
    assert scores.n_samples == 6
    assert relative_error(scores.values, expected.values) < 1e-6
    assert relative_error(scores.variance, expected.variance) < 1e-6
    assert torch.equal(scores.block_counts, expected.block_counts)


def test_where_halves_never_agree_all_samples_are_read(method):
    """Two sets without neurons do not agree; rounds need not divide the samples."""
    model = opened("llama", torch.float64)
    for select in (lambda s: s.top(k=1) - s.top(k=1), lambda s: s.top(k=10)):
        rule = UntilStable(1.0, select, minimum=2, round_size=7)
        scores = found(model, method, until_stable=rule)
        assert scores.n_samples == len(EXAMPLES)
        expected = found(model, method)
        assert relative_error(scores.values, expected.values) < 1e-6


def test_all_groups_must_agree_and_a_short_one_waits_for_the_others(method):
    planted = planted_model(kind="plain")
    model = wrap_model(planted.hf, planted.tokenizer, name="planted")
    sure = [Example(prompt, answer, delimiter=d) for prompt, d, answer in planted.examples]
    unsure = [Example(f"{a}+b", "7", delimiter="") for a in "abcdefghijkl"]
    run = {"dcsn": dcsn, "cnl": cnl}[method]

    def counts(groups, k=3, minimum=2):
        rule = UntilStable(1.0, lambda scores: scores.top(k=k), minimum=minimum, round_size=2)
        scores = run(model, groups, until_stable=rule, **OPTIONS[method])
        return [scores[name].n_samples for name in groups]

    assert counts({"sure": sure}) == [2]
    assert counts({"sure": sure}, minimum=5) == [6]
    assert counts({"a": sure, "b": sure[:6]}, minimum=6) == [6, 6]
    assert counts({"a": sure, "b": sure[:4]}, minimum=6) == [len(sure), 4]
    both = counts({"sure": sure, "unsure": unsure}, k=40)
    alone = counts({"sure": sure}, k=40)
    assert both[0] >= alone[0]
    assert both[1] == min(both[0], len(unsure))


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the program catches it."""


@pytest.mark.parametrize("passes", [3, 4, 6])
def test_a_killed_run_stops_where_it_would_have_with_the_same_bits(
    method, passes, tmp_path, monkeypatch
):
    model = opened("llama")
    agreement = max(overlap_of_halves(model, method, n) for n in (12, 16))
    rule = UntilStable(agreement, top_ten, minimum=10, round_size=ROUND)
    whole, again = (found(model, method, until_stable=rule) for _ in range(2))
    assert 10 <= whole.n_samples < len(EXAMPLES)
    assert torch.equal(whole.values, again.values)

    path, done = tmp_path / "state.safetensors", []
    forward = type(model.hf.model).forward

    def dying(self, *args, **kwargs):
        done.append(1)
        if len(done) > passes:
            raise Killed
        return forward(self, *args, **kwargs)

    monkeypatch.setattr("brodmann.localize.checkpoint.SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(type(model.hf.model), "forward", dying)
        found(model, method, until_stable=rule, checkpoint=path)
    resumed = found(model, method, until_stable=rule, checkpoint=path)
    finished = found(model, method, until_stable=rule, checkpoint=path)
    for scores in (resumed, finished):
        assert scores.n_samples == whole.n_samples
        assert torch.equal(scores.values, whole.values)
        assert torch.equal(scores.variance, whole.variance)


def test_rules_that_cannot_be_reached_are_refused_in_one_line():
    for options, named in [
        ({"agreement": 0.0}, "got 0"),
        ({"agreement": -0.5}, "got -0.5"),
        ({"agreement": 1.01}, "got 1.01"),
        ({"agreement": float("nan")}, "got nan"),
        ({"agreement": 0.9, "minimum": 1}, "got 1 and 32"),
        ({"agreement": 0.9, "round_size": 1}, "got 64 and 1"),
        ({"agreement": 0.9, "round_size": 0}, "got 64 and 0"),
    ]:
        with pytest.raises(InputError, match=named) as caught:
            UntilStable(**options)
        assert "\n" not in str(caught.value)
