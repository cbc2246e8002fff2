import math

import pytest
import torch

from brodmann.data import Example
from brodmann.errors import MismatchError
from brodmann.evaluate.circuit_recall import CircuitRecall, circuit_ranks, circuit_recall
from brodmann.localize.circuits import Circuit
from brodmann.localize.edge_attribution import eap_ig
from brodmann.models.components import components_of
from tests.tiny.opened import opened
from tests.tiny.planted_circuit import planted_circuit

ASKED = Example("12+34=", "46", "")


def test_a_planted_circuit_recalls_alone_and_nothing_else_does():
    model, fact, edges = planted_circuit()
    graph = components_of(model).graph
    found = circuit_recall(model, fact, Circuit(graph, graph.mask_of(edges)))
    assert found.rank == found.full_rank == 1 and found.recalled
    assert found.faithfulness == pytest.approx(1, abs=0.02)
    assert found.complement_faithfulness == pytest.approx(0, abs=0.05)
    half = circuit_recall(model, fact, Circuit(graph, graph.mask_of(edges[:1])))
    assert half.faithfulness == pytest.approx(0, abs=0.05)
    nothing = circuit_recall(model, fact, Circuit(graph, torch.zeros_like(graph.exists)))
    assert not nothing.recalled  # though no token has a larger logit than the answer
    circuits = [Circuit(graph, graph.mask_of(some)) for some in (edges, edges[:1], [])]
    assert circuit_ranks(model, fact, circuits) == [found.rank, half.rank, nothing.rank]
    assert found.row()["n_edges"] == 2 and found.row()["recalled"] is True


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "gemma2"])
def test_all_edges_are_the_model_and_none_are_nothing(family):
    model = opened(family)
    graph = components_of(model).graph
    whole = circuit_recall(model, ASKED, Circuit(graph, graph.exists))
    ids = model.tokenizer(ASKED.prompt, return_tensors="pt")["input_ids"]
    logits = model.hf(input_ids=ids).logits[0, -1]
    answer = model.tokenizer(ASKED.prompt + ASKED.answer)["input_ids"][ids.shape[1]]
    assert whole.rank == whole.full_rank == 1 + int((logits > logits[answer]).sum())
    assert whole.loss == pytest.approx(whole.full_loss, abs=1e-6)
    assert whole.complement_loss == pytest.approx(whole.empty_loss, abs=1e-6)
    nothing = circuit_recall(model, ASKED, Circuit(graph, torch.zeros_like(graph.exists)))
    assert nothing.loss == pytest.approx(whole.empty_loss, abs=1e-6)
    assert nothing.parameter_share == 0 < whole.parameter_share < 1


def test_a_model_that_knows_nothing_has_no_faithfulness():
    row = CircuitRecall(1, 1, 1.0, 2.0, 1.5, 1.0, 3, 0.1)
    assert math.isnan(row.faithfulness)


def test_a_circuit_of_another_model_is_refused():
    circuit = eap_ig(opened("llama"), ASKED, steps=1).top(20)
    with pytest.raises(MismatchError, match="Locate it on this model"):
        circuit_recall(opened("llama", seed=1), ASKED, circuit)
