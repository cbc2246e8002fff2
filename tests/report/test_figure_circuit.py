import numpy as np
from matplotlib.image import imread

from brodmann.data import Example
from brodmann.localize.edge_attribution import eap_ig
from brodmann.report.figure_circuit import MOST_EDGES, draw_circuit
from tests.tiny.opened import opened


def test_a_circuit_is_drawn_and_told(tmp_path):
    scores = eap_ig(opened("llama"), Example("12+34=", "46", ""), steps=1)
    circuit = scores.top(30)
    told = draw_circuit(circuit, tmp_path / "c.png", scores=scores, title="12+34= 46")
    assert told.startswith(f"12+34= 46: {len(circuit)} of 190 edges.")
    pixels = imread(tmp_path / "c.png")
    assert np.ptp(pixels[..., :3]) > 0.5
    again = draw_circuit(circuit, tmp_path / "d.png", scores=scores, title="12+34= 46")
    assert again == told
    assert (tmp_path / "c.png").read_bytes() == (tmp_path / "d.png").read_bytes()


def test_only_the_strongest_edges_of_many_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("brodmann.report.figure_circuit.MOST_EDGES", 10)
    assert MOST_EDGES > 10
    scores = eap_ig(opened("gpt_neox"), Example("12+34=", "46", ""), steps=1)
    told = draw_circuit(scores.top(60, prune=False), tmp_path / "c.png", scores=scores)
    assert "the 10 strongest drawn" in told
    empty = scores.above(1e9)
    assert draw_circuit(empty, tmp_path / "e.png", scores=scores).startswith("0 of 250 edges")
