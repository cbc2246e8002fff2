"""How scores and sets look in a notebook and in a terminal."""

import xml.etree.ElementTree as ElementTree

import pytest
import torch

from brodmann.neurons import NeuronSet
from brodmann.neurons.svg import bars, extremes, map_svg, strip_svg
from tests.neurons.build import PROVENANCE, random_scores, scores_of

EVIL = "<script>alert('x')</script>\"&"


def elements(markup):
    return [element.tag.split("}")[-1] for element in ElementTree.fromstring(markup).iter()]


class TestEscaping:
    provenance = dict.fromkeys(("model", "fingerprint", "method", "data"), EVIL)

    def test_of_provenance(self):
        scores = random_scores(0, provenance=self.provenance)
        odd = scores.top(5)
        nested = {**self.provenance, "data": {EVIL: EVIL}, "rule": {EVIL: EVIL}}
        shown = [scores, odd, odd | odd.complement()]
        shown += [NeuronSet(odd.mask, provenance=nested)]
        shown += [NeuronSet(odd.mask, provenance={**nested, "rule": EVIL})]
        for one in shown:
            markup = one._repr_html_()
            assert "<script" not in markup and "&lt;script&gt;" in markup
            assert "script" not in elements(markup)

    def test_of_titles(self):
        for markup in (strip_svg([1, 2], EVIL, EVIL), map_svg(torch.ones(2, 3), EVIL, EVIL)):
            assert "<script" not in markup
            assert markup.count("&quot;&amp;") == 3


class TestPictures:
    def test_strip_has_a_bar_per_layer(self):
        markup = strip_svg([0, 5, 2], "title", "caption")
        assert elements(markup).count("rect") == 3
        assert "layer 1: 5" in markup

    def test_map_shows_the_strongest_of_a_bin_with_its_sign(self):
        values = torch.tensor([[0.0, -2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
        assert extremes(values, 2).tolist() == [[-2, 1, 0], [0, 0, 1]]
        markup = map_svg(values, "title", "caption", bin_size=2)
        assert markup.count("#c0392b") == 2 and markup.count("#2166ac") == 1
        assert 'fill-opacity="1.00"' in markup and 'fill-opacity="0.50"' in markup

    @pytest.mark.parametrize("shape", [(1, 1), (2, 121), (100, 2000)])
    def test_every_size_and_all_zeros_draw(self, shape):
        assert "svg" in elements(map_svg(torch.zeros(shape), "", ""))
        assert "svg" in elements(map_svg(torch.randn(shape), "", ""))
        assert "svg" in elements(strip_svg([0] * shape[0], "", ""))

    def test_bars(self):
        assert bars([0, 1, 4, 8]) == "·▁▄█"
        assert bars([0, 0]) == "··" and bars([]) == ""


class TestText:
    def test_set(self):
        pairs = [(2, i) for i in range(4)] + [(0, 1), (0, 2), (3, 0), (1, 1)]
        found = NeuronSet.from_pairs(pairs, 4, 1000, provenance=PROVENANCE)
        line = (
            "NeuronSet(8 of 4,000 neurons, 0.20%; layer 2: 4, 0: 2, 1: 1, …; "
            "tiny · dcsn · arithmetic/add)"
        )
        assert repr(found) == line
        assert str(found) == f"{line}\nlayers 0–3 ▄▂█▂"
        assert repr(NeuronSet.from_pairs([], 4, 10)) == "NeuronSet(0 of 40 neurons, 0.00%)"

    def test_combined_sets_say_how(self):
        add = NeuronSet.from_pairs([(0, 1)], 2, 10, provenance=PROVENANCE)
        sub = NeuronSet.from_pairs([(0, 1)], 2, 10, provenance={**PROVENANCE, "data": "sub"})
        assert repr(add - sub).endswith("tiny · arithmetic/add - sub)")
        assert repr(add.complement()).endswith("tiny · not arithmetic/add)")

    def test_scores(self):
        values = torch.zeros(2, 1, 1500)
        values[:, 0, 3], values[:, 0, 7] = -2.5, 1
        assert repr(scores_of(values)) == (
            "NeuronScores(1 layers × 1,500 neurons, 2 samples; "
            "strongest (0, 3): -2.5, (0, 7): +1, (0, 0): +0; tiny · dcsn · arithmetic/add)"
        )
