import warnings

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from brodmann.errors import InputError, UnknownNameError
from brodmann.neurons import (
    RuleCannotFireWarning,
    can_fire,
    sigma_mask,
    strongest_mask,
    top_mask,
)
from tests.neurons.build import ragged
from tests.reference import neurons as reference

quick = settings(
    deadline=None, max_examples=80, suppress_health_check=[HealthCheck.filter_too_much]
)
rules = st.fixed_dictionaries(
    {
        "dispersion": st.sampled_from(["std", "var", "mad"]),
        "scope": st.sampled_from(["global", "layer"]),
        "sign": st.sampled_from(["both", "positive", "negative"]),
        "exclude_last_layers": st.integers(0, 2),
    }
)
# Multiples of an eighth: sums are exact, so no score sits on the threshold by rounding alone.
numbers = st.integers(-400, 400).map(lambda n: n / 8)


def layers(elements=numbers, n_layers=3, n_neurons=9):
    row = st.lists(elements, min_size=n_neurons, max_size=n_neurons)
    return st.lists(row, min_size=n_layers, max_size=n_layers).map(
        lambda rows: torch.tensor(rows, dtype=torch.float64)
    )


def pairs(mask):
    return {tuple(pair) for pair in mask.nonzero().tolist()}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuleCannotFireWarning)
        yield


@quick
@given(layers(), rules, st.sampled_from([0.3, 0.83, 1.37, 2.1]))
def test_sigma_rule_is_the_papers(values, rule, sigma):
    real = ragged(*values.shape)
    found = sigma_mask(values, real, sigma=sigma, **rule)
    assert pairs(found) == reference.selected(values.tolist(), real.tolist(), sigma, **rule)


@quick
@given(layers(), st.integers(0, 24), st.sampled_from(["both", "positive", "negative"]))
def test_top_takes_exactly_k_and_breaks_ties_by_place(values, k, sign):
    real = ragged(*values.shape)
    found = top_mask(values, real, k, sign)
    assert int(found.sum()) == k
    assert pairs(found) == reference.top(values.tolist(), real.tolist(), k, sign)


@quick
@given(layers(), rules, st.integers(-3, 3), st.booleans())
def test_std_and_mad_do_not_feel_the_scale(values, rule, power, flip):
    assume(rule["dispersion"] != "var")
    real = ragged(*values.shape)
    factor = 2.0**power * (-1 if flip else 1)
    opposite = {"positive": "negative", "negative": "positive", "both": "both"}
    sign = opposite[rule["sign"]] if flip else rule["sign"]
    once = sigma_mask(values, real, sigma=1.37, **rule)
    assert torch.equal(
        once, sigma_mask(values * factor, real, sigma=1.37, **{**rule, "sign": sign})
    )


def test_var_does_feel_the_scale():
    values = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    real = torch.ones_like(values, dtype=torch.bool)
    counts = [int(sigma_mask(values * f, real, dispersion="var").sum()) for f in (0.01, 1, 100)]
    assert counts[0] > 1800 and counts[1] == counts[2] == 0


def test_padding_and_excluded_layers_do_not_count_for_the_statistics():
    values = torch.zeros(3, 100)
    values[0, :50] = torch.linspace(-1, 1, 50)
    values[0, 7], values[2] = 40, 1000.0
    real = torch.zeros(3, 100, dtype=torch.bool)
    real[0, :50] = real[2] = True
    assert pairs(sigma_mask(values, real, exclude_last_layers=1)) == {(0, 7)}
    assert pairs(sigma_mask(values, real)) == set()


def test_statistics_run_in_float64():
    # In float32 the mean, 2**23 + 0.5, cannot be written: half of the scores would equal it.
    values = torch.full((1, 4000), 2.0**23)
    values[0, ::2] += 1
    found = sigma_mask(values, torch.ones_like(values, dtype=torch.bool), sigma=0.9)
    assert int(found.sum()) == 4000


@pytest.mark.parametrize("outliers", [1, 2, 5])
def test_a_rule_fires_above_37_neurons_per_outlier(outliers):
    for n, fires in ((37 * outliers - 1, False), (37 * outliers + 1, True)):
        values = torch.zeros(1, n, dtype=torch.float64)
        values[0, :outliers] = 1
        found = sigma_mask(values, torch.ones_like(values, dtype=torch.bool), sigma=6)
        assert bool(found.any()) is fires is can_fire(n, 6, outliers)


class TestWarnings:
    def test_too_few_neurons(self):
        values, real = torch.randn(2, 37), torch.ones(2, 37, dtype=torch.bool)
        with pytest.warns(RuleCannotFireWarning, match=r"sigma=6 .* in layers 0, 1: .* 37 neurons"):
            assert not sigma_mask(values, real, scope="layer").any()
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuleCannotFireWarning)
            sigma_mask(values, real)
            sigma_mask(values, real, scope="layer", dispersion="var")

    @pytest.mark.parametrize("dispersion", ["std", "var", "mad"])
    def test_equal_scores(self, dispersion):
        values, real = torch.full((2, 500), 0.1), torch.ones(2, 500, dtype=torch.bool)
        with pytest.warns(RuleCannotFireWarning, match="is zero"):
            assert not sigma_mask(values, real, dispersion=dispersion).any()

    def test_a_mad_of_zero_selects_nothing(self):
        values, real = torch.zeros(1, 500), torch.ones(1, 500, dtype=torch.bool)
        values[0, :9] = 1
        with pytest.warns(RuleCannotFireWarning, match="mad is zero"):
            assert not sigma_mask(values, real, dispersion="mad").any()


class TestRefusals:
    values, real = torch.randn(2, 50), torch.ones(2, 50, dtype=torch.bool)

    @pytest.mark.parametrize("sigma", [0, -1, float("nan"), float("inf")])
    def test_sigma(self, sigma):
        with pytest.raises(InputError, match="sigma above 0; got"):
            sigma_mask(self.values, self.real, sigma=sigma)

    @pytest.mark.parametrize("kind", ["dispersion", "scope", "sign"])
    def test_names(self, kind):
        with pytest.raises(UnknownNameError, match=f"Expected a {kind} out of .*; got 'stb'"):
            sigma_mask(self.values, self.real, **{kind: "stb"})
        with pytest.raises(UnknownNameError):
            top_mask(self.values, self.real, 1, "stb")

    @pytest.mark.parametrize("layers_out", [2, -1])
    def test_excluded_layers(self, layers_out):
        with pytest.raises(InputError, match="between 0 and 1; got"):
            sigma_mask(self.values, self.real, exclude_last_layers=layers_out)

    @pytest.mark.parametrize("k", [101, -1])
    def test_k(self, k):
        with pytest.raises(InputError, match=r"k between 0 and 100 .*; got"):
            top_mask(self.values, self.real, k)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_nan_where_a_neuron_exists(self, bad):
        values, real = self.values.clone(), self.real.clone()
        values[1, 49] = bad
        for select in (
            lambda: sigma_mask(values, real),
            lambda: top_mask(values, real, 3),
            lambda: strongest_mask(values, real, 0.5),
        ):
            with pytest.raises(
                InputError, match="1 are NaN or infinite, the first at layer 1, neu"
            ):
                select()
        real[1, 49] = False
        assert not sigma_mask(values, real)[1, 49]
        assert top_mask(values, real, 99).sum() == 99
