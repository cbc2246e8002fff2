import numpy as np
import pytest
import torch

from brodmann.errors import InputError, MismatchError
from brodmann.neurons import NeuronScores
from tests.neurons.build import PROVENANCE, ragged, random_scores, scores_of
from tests.reference.neurons import mean_and_variance


class TestFromSums:
    @pytest.mark.parametrize("n_samples", [2, 7, 40])
    def test_mean_variance_and_error_are_those_of_the_samples(self, n_samples):
        samples = torch.randn(n_samples, 3, 5, dtype=torch.float64) + 3
        real = ragged(3, 5)
        scores = scores_of(samples, real)
        for layer, neuron in real.nonzero().tolist():
            mean, variance = mean_and_variance(samples[:, layer, neuron].tolist())
            assert scores.values[layer, neuron].item() == pytest.approx(mean, rel=1e-12)
            assert scores.variance[layer, neuron].item() == pytest.approx(variance, rel=1e-12)
            error = (variance / n_samples) ** 0.5
            assert scores.standard_error[layer, neuron].item() == pytest.approx(error, rel=1e-12)
        assert scores.n_samples == n_samples == int(scores.block_counts.sum())

    def test_padding_is_zero_whatever_the_sums_say(self):
        samples = torch.full((4, 3, 5), torch.nan).where(~ragged(3, 5), 1.0)
        scores = scores_of(samples, ragged(3, 5))
        assert scores.values.tolist() == ragged(3, 5).float().tolist()

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_dtype(self, dtype):
        scores = random_scores(0, dtype=dtype)
        kept = torch.float64 if dtype == torch.float64 else torch.float32
        assert scores.values.dtype == scores.variance.dtype == scores.block_means.dtype == kept

    def test_one_sample_has_no_variance(self):
        scores = random_scores(0, shape=(1, 2, 4))
        assert scores.variance.isnan().all() and scores.values.isfinite().all()
        assert len(scores.top(3)) == 3

    def test_refusals(self):
        with pytest.raises(InputError, match="one sample or more"):
            random_scores(0, shape=(0, 2, 4))
        with pytest.raises(InputError, match="holds 'fingerprint'"):
            random_scores(0, provenance={"model": "tiny"})
        samples = torch.zeros(4, 2, 3)
        samples[2, 1, 2] = torch.nan
        with pytest.raises(InputError, match="first at layer 1, neuron 2"):
            scores_of(samples)


class TestSelect:
    def test_planted_neurons_are_found_and_the_rule_is_told(self):
        samples = torch.randn(64, 4, 200, generator=torch.Generator().manual_seed(0))
        samples[:, 1, 3] += 30
        samples[:, 2, 5] -= 30
        scores = scores_of(samples, dtype=torch.float32)
        assert set(scores.select()) == {(1, 3), (2, 5)} == set(scores.top(2))
        assert set(scores.select(sign="positive")) == {(1, 3)}
        assert set(scores.top(1, sign="negative")) == {(2, 5)}
        assert len(scores.top(fraction=0.1)) == 80
        provenance = scores.select(5, scope="layer").provenance
        assert provenance["rule"] == {
            "sigma": 5, "dispersion": "std", "scope": "layer", "sign": "both",
            "exclude_last_layers": 0,
        }  # fmt: skip
        assert provenance["fingerprint"] == PROVENANCE["fingerprint"]

    @pytest.mark.parametrize("arguments", [{}, {"k": 3, "fraction": 0.1}])
    def test_top_wants_one_of_two(self, arguments):
        with pytest.raises(InputError, match="either k or fraction"):
            random_scores(0).top(**arguments)


class TestContrast:
    def test_values_error_and_blocks(self):
        parts = [random_scores(seed, shape=(n, 3, 5)) for seed, n in enumerate((40, 24, 32))]
        own, *others = parts
        found = own.contrast(others)
        expected = own.values - (others[0].values + others[1].values) / 2
        torch.testing.assert_close(found.values, expected, rtol=1e-12, atol=1e-15)
        squared = [part.standard_error**2 for part in parts]
        error = squared[0] + (squared[1] + squared[2]) / 4
        torch.testing.assert_close(found.variance / found.n_samples, error)
        assert found.n_samples == own.n_samples
        # All blocks of a score are equally large here, so the halves' mean is the whole.
        halves = (found.half(0).values + found.half(1).values) / 2
        torch.testing.assert_close(halves, found.values)
        assert [part["data"] for part in found.provenance["contrast"]] == ["arithmetic/add"] * 2

    def test_error_is_that_of_a_simulation(self):
        draws = [
            random_scores(2 * seed, (30, 1, 1)).contrast([random_scores(2 * seed + 1, (10, 1, 1))])
            for seed in range(600)
        ]
        spread = np.std([found.values.item() for found in draws])
        claimed = np.sqrt(np.mean([found.standard_error.item() ** 2 for found in draws]))
        assert claimed == pytest.approx(spread, rel=0.1)
        assert claimed == pytest.approx((1 / 30 + 1 / 10) ** 0.5, rel=0.05)

    def test_blocks_are_dropped_where_they_do_not_match(self):
        own = random_scores(0)
        for other in (random_scores(1, n_blocks=4), random_scores(1, shape=(5, 3, 50))):
            found = own.contrast([other])
            assert found.block_means.shape == (0, 3, 50)
            with pytest.raises(InputError, match="two filled blocks"):
                found.half(0)

    def test_refusals(self):
        own = random_scores(0)
        with pytest.raises(InputError, match="got none"):
            own.contrast([])
        with pytest.raises(MismatchError, match="one model"):
            own.contrast([random_scores(1, provenance={"model": "b", "fingerprint": "0"})])
        with pytest.raises(MismatchError, match="same neurons"):
            own.contrast([random_scores(1, shape=(40, 3, 51))])


class TestBlocks:
    def test_halves_are_the_scores_of_disjoint_samples(self):
        samples = torch.randn(37, 2, 6, dtype=torch.float64)
        scores = scores_of(samples)
        block = torch.arange(37) % 8
        for which in (0, 1):
            half = scores.half(which)
            chosen = samples[block % 2 == which]
            torch.testing.assert_close(half.values, chosen.mean(0))
            assert half.n_samples == len(chosen)
        assert scores.half(0).n_samples + scores.half(1).n_samples == 37
        with pytest.raises(InputError, match="half 0 or 1"):
            scores.half(2)

    def test_reweighted_repeats_blocks(self):
        samples = torch.randn(20, 2, 6, dtype=torch.float64)
        times = torch.tensor([0, 3, 1, 0, 0, 2, 0, 1])
        found = scores_of(samples).reweighted(times)
        repeated = samples.repeat_interleave(times[torch.arange(20) % 8], dim=0)
        torch.testing.assert_close(found.values, repeated.mean(0))
        assert found.n_samples == len(repeated)

    def test_a_single_block_has_no_other_half(self):
        with pytest.raises(InputError, match="two filled blocks"):
            random_scores(0, shape=(1, 2, 3)).half(1)


class TestFiles:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_round_trip(self, tmp_path, dtype):
        provenance = {**PROVENANCE, "options": {"fold_norm": True, "seed": 0}}
        scores = random_scores(0, dtype=dtype, real=ragged(3, 50), provenance=provenance)
        scores.save(tmp_path / "scores")
        read = NeuronScores.load(tmp_path / "scores")
        for name in ("values", "variance", "block_means", "block_counts", "real"):
            one, two = getattr(scores, name), getattr(read, name)
            assert one.dtype == two.dtype and torch.equal(one, two)
        assert (read.n_samples, read.provenance) == (40, provenance)

    def test_equal_scores_give_equal_bytes(self, tmp_path):
        for name in ("a", "b"):
            random_scores(0).save(tmp_path / name)
        files = [(tmp_path / name / "scores.safetensors").read_bytes() for name in "ab"]
        assert files[0] == files[1]

    def test_other_folders_are_refused(self, tmp_path):
        with pytest.raises(InputError, match="there is none"):
            NeuronScores.load(tmp_path)
        random_scores(0).top(3).save(tmp_path / "set")
        (tmp_path / "set" / "set.safetensors").rename(tmp_path / "scores.safetensors")
        with pytest.raises(InputError, match="something else"):
            NeuronScores.load(tmp_path)

    def test_table(self):
        scores = random_scores(0, real=ragged(3, 50))
        table = scores.to_table()
        assert table.column_names == ["layer", "neuron", "score", "standard_error", "variance"]
        assert table.num_rows == int(scores.real.sum()) == 147
        row = table.slice(60, 1).to_pylist()[0]
        place = (row["layer"], row["neuron"])
        assert place == (1, 10)
        assert row["score"] == scores.values[place].item()
        assert row["standard_error"] == scores.standard_error[place].item()
