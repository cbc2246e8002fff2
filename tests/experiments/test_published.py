"""The papers' numbers: all there once, as printed, and those that do not add up are known."""

import json
import math
from collections import Counter
from importlib.resources import files

import pytest

from brodmann.errors import UnknownNameError
from brodmann.experiments.published import published, published_experiments

EXPERIMENTS = published_experiments()

COUNTS = {
    **{"dcsn-table-2": 70, "dcsn-table-3": 90, "dcsn-table-4": 80, "dcsn-table-5": 16},
    **{"dcsn-table-6": 160, "dcsn-table-7": 15, "dcsn-table-8": 12, "dcsn-table-9": 70},
    **{"dcsn-table-10": 40, "dcsn-table-11": 90, "dcsn-table-12": 18, "dcsn-table-13": 30},
    **{"dcsn-table-14": 30, "dcsn-figure-2": 0, "cnl-table-1": 45, "cnl-table-2": 108},
    **{"cnl-table-3": 72, "cnl-table-4": 12, "cnl-table-5": 9, "cnl-section-3.1": 6},
    **{"cnl-section-3.2": 10, "cnl-section-4": 3, "cnl-figure-2": 0, "cnl-figure-4": 0},
    **{"cnl-figure-5": 1, "cnl-figure-6": 0, "cnl-figure-7": 0, "cnl-figure-8": 0},
}

WRONG = """
dcsn-table-3 | Cohesion | DG | Avg. | LLaMA-2-7B | 94.19 | 94.13
dcsn-table-3 | Cohesion | TF | Avg. | LLaMA-2-7B | 94.26 | 94.24
dcsn-table-3 | Cohesion | MQ | Avg. | LLaMA-2-7B | 94.13 | 94.21
dcsn-table-3 | Cohesion | CH | Avg. | LLaMA-2-7B | 82.97 | 82.96
dcsn-table-3 | Cohesion | DG | Avg. | GPT-J-6B | 94.35 | 94.38
dcsn-table-3 | Cohesion | TF | Avg. | GPT-J-6B | 93.42 | 93.48
dcsn-table-3 | Cohesion | MQ | Avg. | GPT-J-6B | 93.62 | 93.72
dcsn-table-3 | Cohesion | CH | Avg. | GPT-J-6B | 81.59 | 81.62
dcsn-table-3 | Separability | DG | Avg. | LLaMA-3-8B | 3.65 | 3.67
dcsn-table-3 | Separability | MQ | Avg. | LLaMA-3-8B | 4.73 | 4.76
dcsn-table-3 | Separability | TF | Avg. | LLaMA-3-8B | 4.82 | 4.84
dcsn-table-3 | Separability | CH | Avg. | LLaMA-3-8B | 4.57 | 4.52
dcsn-table-3 | Separability | EN | Avg. | LLaMA-3-8B | 4.84 | 4.91
dcsn-table-3 | Separability | MQ | Avg. | LLaMA-3-13B | 4.9 | 4.94
dcsn-table-3 | Separability | TF | Avg. | LLaMA-3-13B | 4.71 | 4.75
dcsn-table-3 | Separability | CH | Avg. | LLaMA-3-13B | 4.22 | 4.27
dcsn-table-3 | Separability | EN | Avg. | LLaMA-3-13B | 4.76 | 4.84
dcsn-table-4 | Reverse | Deactivate-Cap | Avg. | GPT-J-6B | -29.92 | -31.92
dcsn-table-9 | Enhancement | FT-Cap | Avg. | LLaMA-2-7B | 62.1 | 65.9
dcsn-table-9 | Enhancement | FT-Cap | Avg. | GPT-J-6B | 62.5 | 65.0
dcsn-table-9 | Erasure | Deactivate-Cap | Avg. | LLaMA-3-8B | 32.7 | 33.05
dcsn-table-9 | Erasure | Deactivate-Cap | Avg. | LLaMA-3-13B | 33.1 | 34.08
dcsn-table-10 | GSM8K | FT-Cap | SVAMP | LLaMA-3-8B | 12.2 | 12.6
dcsn-table-11 | Cohesion | DG | Avg. | LLaMA-3-8B | 93.29 | 93.58
dcsn-table-11 | Cohesion | TF | Avg. | LLaMA-3-8B | 93.36 | 93.81
dcsn-table-11 | Cohesion | MQ | Avg. | LLaMA-3-8B | 93.23 | 93.49
dcsn-table-11 | Cohesion | CH | Avg. | LLaMA-3-8B | 83.27 | 83.92
dcsn-table-11 | Cohesion | DG | Avg. | LLaMA-3-13B | 93.35 | 94.05
dcsn-table-11 | Cohesion | TF | Avg. | LLaMA-3-13B | 93.78 | 93.24
dcsn-table-11 | Cohesion | MQ | Avg. | LLaMA-3-13B | 93.22 | 93.49
dcsn-table-11 | Cohesion | CH | Avg. | LLaMA-3-13B | 82.79 | 82.45
dcsn-table-11 | Separability | DG | Avg. | LLaMA-2-7B | 3.45 | 4.09
dcsn-table-11 | Separability | MQ | Avg. | LLaMA-2-7B | 4.03 | 4.5
dcsn-table-11 | Separability | TF | Avg. | LLaMA-2-7B | 4.61 | 4.88
dcsn-table-11 | Separability | CH | Avg. | LLaMA-2-7B | 4.24 | 4.51
dcsn-table-11 | Separability | EN | Avg. | LLaMA-2-7B | 4.38 | 4.85
dcsn-table-11 | Separability | DG | Avg. | GPT-J-6B | 4.23 | 4.44
dcsn-table-11 | Separability | MQ | Avg. | GPT-J-6B | 4.98 | 5.04
dcsn-table-11 | Separability | TF | Avg. | GPT-J-6B | 4.73 | 4.76
dcsn-table-11 | Separability | CH | Avg. | GPT-J-6B | 4.03 | 4.48
dcsn-table-11 | Separability | EN | Avg. | GPT-J-6B | 4.68 | 4.43
cnl-table-2 | σ=6, epoch 1 | W/o located | Avg. | Llama2-7B | 28.95 | 29.61
"""
"""Printed averages and differences that are not those of their cells."""

CUT_OFF = """
dcsn-table-2 | Enhancement | Original | Avg. | LLaMA-2-7B | 47.8 | 47.88
dcsn-table-2 | Enhancement | FT-Cap | Avg. | LLaMA-2-7B | 66.9 | 66.97
dcsn-table-2 | Enhancement | Original | Avg. | GPT-J-6B | 46.5 | 46.57
dcsn-table-2 | Erasure | Original | Avg. | LLaMA-3-8B | 52.1 | 52.18
dcsn-table-2 | Erasure | Deactivate-Random | Avg. | LLaMA-3-13B | 54.6 | 54.67
dcsn-table-4 | Forward | MQ | Avg. | LLaMA-2-7B | 85.73 | 85.74
dcsn-table-4 | Reverse | Deactivate-Random | Avg. | LLaMA-2-7B | 55.93 | 55.94
dcsn-table-9 | Enhancement | Original | Avg. | LLaMA-2-7B | 47.8 | 47.88
dcsn-table-9 | Enhancement | Original | Avg. | GPT-J-6B | 46.5 | 46.57
dcsn-table-9 | Erasure | Original | Avg. | LLaMA-3-8B | 52.1 | 52.18
dcsn-table-9 | Erasure | Deactivate-Random | Avg. | LLaMA-3-13B | 54.6 | 54.67
cnl-table-2 | σ=3, epoch 10 | W/o located | Avg. | GPTJ-6B | 39.73 | 39.74
cnl-table-3 | σ=3 | Located | Avg. | Llama2-13B | 7.42 | 7.43
"""
"""Those with digits cut off instead of rounded."""


def flagged(cut_off):
    return {
        " | ".join([name, one.block, one.row, one.column, one.model]): (one.printed, one.recomputed)
        for name, entry in EXPERIMENTS.items()
        for one in entry.recomputed
        if one.differs and one.cut_off == cut_off
    }


@pytest.mark.parametrize(("known", "cut_off"), [(WRONG, False), (CUT_OFF, True)])
def test_exactly_the_known_numbers_do_not_add_up(known, cut_off):
    expected = {}
    for line in known.strip().splitlines():
        *place, printed, recomputed = line.split(" | ")
        expected[" | ".join(place)] = (float(printed), float(recomputed))
    found = flagged(cut_off)
    assert found.keys() == expected.keys()
    for place, (printed, recomputed) in found.items():
        assert expected[place] == (printed, pytest.approx(recomputed, abs=0.0051)), place


def test_every_average_and_arrow_is_worked_out_again():
    checks = [one for entry in EXPERIMENTS.values() for one in entry.recomputed]
    assert Counter(one.kind for one in checks) == {"average": 137, "change": 84}
    for one in checks:
        assert one.differs or one.printed == pytest.approx(one.recomputed, abs=0.06)


def test_every_number_is_there_once_and_finite():
    assert {name: len(entry.cells) for name, entry in EXPERIMENTS.items()} == COUNTS
    for name, entry in EXPERIMENTS.items():
        places = Counter((c.block, c.row, c.column, c.model) for c in entry.cells)
        assert max(places.values(), default=1) == 1, name
        for cell in entry.cells:
            assert math.isfinite(cell.value) and float(cell.printed) == cell.value
            assert all((cell.block, cell.row, cell.column))
        assert all(math.isfinite(one.value) and one.says for one in entry.statements)
        assert entry.paper == name.partition("-")[0] and entry.place and entry.title


def test_numbers_are_those_of_the_papers():
    table = published("dcsn-table-2")
    (cell,) = [
        c for c in table.block("Enhancement")
        if (c.row, c.column, c.model) == ("FT-Cap", "Avg.", "LLaMA-2-7B")
    ]  # fmt: skip
    assert (cell.value, cell.printed, cell.change) == (66.9, "66.9", 14.1)
    assert table.models == ["LLaMA-2-7B", "GPT-J-6B", "LLaMA-3-8B", "LLaMA-3-13B"]
    assert [s.value for s in table.statements[:3]] == [19.9, 14.1, 4.5]
    erased = {(c.row, c.column): c.value for c in published("dcsn-table-5").cells}
    assert erased["1-OP (+)", "-"] == -6.3
    assert math.copysign(1, erased["1-OP (-)", "*"]) == 1, "a printed −0.0 is 0"
    assert any("19.9" in note for note in table.notes)


def test_every_table_of_the_papers_with_a_contradiction_says_so():
    for name, entry in EXPERIMENTS.items():
        assert entry.notes, name
        for note in entry.notes:
            assert note == note.strip() and note.endswith((".", '"')), note


def test_no_experiment_is_in_a_file_twice():
    for paper in ("dcsn", "cnl"):
        source = files("brodmann.experiments").joinpath("published", f"{paper}.json")

        def unique(pairs):
            names = Counter(name for name, _ in pairs)
            assert max(names.values(), default=1) == 1, names
            return dict(pairs)

        json.loads(source.read_text(encoding="utf-8"), object_pairs_hook=unique)


def test_an_unknown_experiment_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'dcsn-table-2'"):
        published("dcsn-tabel-2")
