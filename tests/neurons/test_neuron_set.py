import json

import pytest
import torch
from hypothesis import given, settings

from brodmann.errors import InputError, MismatchError
from brodmann.neurons import NeuronSet
from tests.neurons.build import PROVENANCE, ragged, random_scores, sets

quick = settings(deadline=None, max_examples=50)


class TestAlgebra:
    @quick
    @given(sets(3))
    def test_agrees_with_python_sets(self, drawn):
        a, b, c = drawn
        x, y, z = map(set, drawn)
        assert set(a | b) == x | y
        assert set(a & b) == x & y
        assert set(a - b) == set(a.difference(b)) == x - y
        assert set(a ^ b) == x ^ y
        assert set((a | b) - c) == (x | y) - z
        assert len(a) == len(x) and list(a) == sorted(x)
        assert all(pair in a for pair in x)

    @quick
    @given(sets(2))
    def test_laws(self, drawn):
        a, b = drawn
        assert a | b == b | a and a & b == b & a and a ^ b == b ^ a
        assert (a | b).complement() == a.complement() & b.complement()
        assert (a & b).complement() == a.complement() | b.complement()
        assert a.complement().complement() == a
        assert a - b == a & b.complement()
        assert len(a | b) + len(a & b) == len(a) + len(b)
        assert len(a) + len(a.complement()) == int(a.real.sum())

    @quick
    @given(sets(2))
    def test_equality_and_hash_are_by_content(self, drawn):
        a, b = drawn
        again = NeuronSet.from_pairs(a, 3, 7, real=a.real, provenance={**PROVENANCE, "rule": "x"})
        assert again == a and hash(again) == hash(a) and len({a, again}) == 1
        assert (a == b) == (set(a) == set(b))
        assert a != set(a)

    def test_sets_of_different_models_are_not_equal_and_do_not_combine(self):
        mask = torch.eye(3, dtype=torch.bool)
        a = NeuronSet(mask, provenance=PROVENANCE)
        b = NeuronSet(mask, provenance={"model": "other", "fingerprint": "0" * 64})
        assert a != b
        for combine in (NeuronSet.__or__, NeuronSet.__and__, NeuronSet.__sub__, NeuronSet.__xor__):
            with pytest.raises(MismatchError, match=r"one model; got tiny \(f+\) and other \(0+\)"):
                combine(a, b)
        with pytest.raises(MismatchError, match="3 layers × 3 neurons and 3 layers × 4 neurons"):
            _ = a | NeuronSet(torch.zeros(3, 4, dtype=torch.bool))
        with pytest.raises(MismatchError, match="layer 1 has 3 and 2"):
            _ = a | NeuronSet(torch.zeros(3, 3, dtype=torch.bool), ragged(3, 3))

    def test_a_set_without_fingerprint_makes_no_claim(self):
        a = NeuronSet(torch.eye(3, dtype=torch.bool), provenance=PROVENANCE)
        b = NeuronSet.from_pairs([(0, 1)], 3, 3)
        assert set(b | a) == {(0, 0), (0, 1), (1, 1), (2, 2)}
        assert (b | a).provenance["fingerprint"] == PROVENANCE["fingerprint"]
        b.check_belongs("0" * 64, "other")

    def test_provenance_tells_how_it_was_combined(self):
        a = NeuronSet.from_pairs([(0, 0)], 2, 2, provenance=PROVENANCE)
        told = (a - a.complement()).provenance
        assert told["operation"] == "-"
        assert told["parts"][0] == PROVENANCE
        assert told["parts"][1]["operation"] == "not"


class TestImmutable:
    def test_nothing_handed_in_or_out_changes_it(self):
        mask, provenance = torch.eye(3, dtype=torch.bool), {"data": {"spec": "x"}}
        a = NeuronSet(mask, provenance=provenance)
        before = hash(a)
        mask[:] = True
        provenance["data"]["spec"] = "y"
        a.mask[:] = True
        a.real[:] = False
        a.counts[:] = 7
        a.provenance["data"]["spec"] = "z"
        assert (len(a), hash(a), a.provenance["data"]["spec"]) == (3, before, "x")
        with pytest.raises(AttributeError):
            a.mask = mask


class TestMaking:
    @pytest.mark.parametrize(
        ("pair", "message"),
        [
            ((3, 0), "layer from 0 to 2; got 3"),
            ((-1, 0), "layer from 0 to 2; got -1"),
            ((0, 7), "neuron from 0 to 6 in layer 0; got 7"),
            ((1, 6), "neuron from 0 to 5 in layer 1; got 6"),
            ((1, -1), "neuron from 0 to 5 in layer 1; got -1"),
        ],
    )
    def test_pairs_out_of_range_are_told_the_range(self, pair, message):
        with pytest.raises(InputError, match=message):
            NeuronSet.from_pairs([(0, 0), pair], 3, 7, real=ragged(3, 7))

    def test_a_mask_on_padding_is_refused(self):
        with pytest.raises(InputError, match="neurons that exist"):
            NeuronSet.from_mask(torch.ones(3, 7, dtype=torch.bool), ragged(3, 7))

    def test_membership_of_other_things_is_false(self):
        a = NeuronSet.from_pairs([(0, 0), (2, 4)], 3, 7)
        assert (2, 4) in a and (torch.tensor(0).item(), 0) in a
        for other in ((2, 5), (-1, 4), (3, 0), (0, 7), 0, "00", (0,), ("a", 0), None):
            assert other not in a


class TestCounting:
    def test_counts_indices_and_shares(self):
        a = NeuronSet.from_pairs([(0, 6), (0, 1), (2, 4)], 3, 7, real=ragged(3, 7))
        assert a.counts.tolist() == [2, 0, 1]
        assert a.indices(0).tolist() == [1, 6] and a.indices(1).tolist() == []
        assert a.share == 3 / 18
        assert a.parameter_share(10, 1000) == 30 / 1000
        assert a.parameter_share([10, 20, 30], 1000) == 50 / 1000
        with pytest.raises(InputError, match="layer from 0 to 2; got 3"):
            a.indices(3)

    def test_strongest_keeps_the_largest_magnitudes(self):
        scores = random_scores(0, provenance=PROVENANCE)
        carry = scores.top(20)
        assert carry.strongest(scores, 0.25) == scores.top(5)
        assert carry.strongest(scores, 1) == carry
        assert len(carry.strongest(scores, 0.001)) == 1
        assert len((carry - carry).strongest(scores, 0.5)) == 0
        for fraction in (0.0, 1.5, -1.0, float("nan")):
            with pytest.raises(InputError, match="fraction above 0"):
                carry.strongest(scores, fraction)
        other = random_scores(0, provenance={"model": "b", "fingerprint": "0"})
        with pytest.raises(MismatchError):
            carry.strongest(other, 0.5)


class TestBelongs:
    def test_another_model_is_refused_unless_forced(self):
        a = NeuronSet.from_pairs([(0, 0)], 2, 2, provenance=PROVENANCE)
        a.check_belongs("f" * 64, "tiny")
        with pytest.raises(MismatchError, match=r"neurons of big \(0+\); .* of tiny \(f+\)"):
            a.check_belongs("0" * 64, "big")
        a.check_belongs("0" * 64, "big", force=True)


class TestFiles:
    @settings(deadline=None, max_examples=20)
    @given(sets())
    def test_round_trip(self, tmp_path_factory, drawn):
        folder = tmp_path_factory.mktemp("set") / "set"
        drawn.save(folder)
        read = NeuronSet.load(folder)
        assert read == drawn and torch.equal(read.real, drawn.real)
        assert read.provenance == drawn.provenance

    def test_the_json_is_for_people(self, tmp_path):
        rule = {"sigma": 6}
        a = NeuronSet.from_pairs([(0, 1)], 2, 5, provenance={**PROVENANCE, "rule": rule})
        a.save(tmp_path / "set")
        told = json.loads((tmp_path / "set" / "set.json").read_text())
        assert (told["model"], told["rule"], told["neurons"]) == ("tiny", rule, 1)
        assert (told["counts"], told["share"], told["shape"]) == ([1, 0], 0.1, [2, 5])

    def test_an_existing_folder_needs_overwrite(self, tmp_path):
        a = NeuronSet.from_pairs([(0, 1)], 2, 5)
        a.save(tmp_path / "set")
        with pytest.raises(InputError, match="--overwrite"):
            a.complement().save(tmp_path / "set")
        assert NeuronSet.load(tmp_path / "set") == a
        a.complement().save(tmp_path / "set", overwrite=True)
        assert NeuronSet.load(tmp_path / "set") == a.complement()

    def test_what_is_not_a_whole_set_is_refused_in_one_line(self, tmp_path):
        a = NeuronSet.from_pairs([(0, 1)], 2, 5, provenance=PROVENANCE)
        a.save(tmp_path / "a")
        a.complement().save(tmp_path / "b")
        random_scores(0).save(tmp_path / "scores")
        files = {name: (tmp_path / "a" / name).read_bytes() for name in ("set.json",)}
        tensors = (tmp_path / "a" / "set.safetensors").read_bytes()
        other_json = (tmp_path / "b" / "set.json").read_bytes()
        scores = (tmp_path / "scores" / "scores.safetensors").read_bytes()
        cases = [
            ({}, "there is none"),
            ({**files}, "there is none"),
            ({"set.safetensors": tensors}, "there is none"),
            ({**files, "set.safetensors": tensors[:-3]}, "corrupt"),
            ({"set.json": b"{", "set.safetensors": tensors}, "corrupt"),
            ({"set.json": b"[]", "set.safetensors": tensors}, "do not agree"),
            ({"set.json": other_json, "set.safetensors": tensors}, "do not agree"),
            ({**files, "set.safetensors": scores}, "something else"),
        ]
        for number, (contents, message) in enumerate(cases):
            folder = tmp_path / str(number)
            folder.mkdir()
            for name, content in contents.items():
                (folder / name).write_bytes(content)
            with pytest.raises(InputError, match=message) as caught:
                NeuronSet.load(folder)
            assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="there is none"):
            NeuronSet.load(tmp_path / "nowhere")

    def test_a_locate_folder_serves_both(self, tmp_path):
        scores = random_scores(0)
        scores.write_into(tmp_path)
        scores.top(5).write_into(tmp_path)
        assert NeuronSet.load(tmp_path) == type(scores).load(tmp_path).top(5)
