import pytest
import torch

from brodmann.data import Example
from brodmann.localize.acdc import acdc
from brodmann.localize.edge_ablation import edge_effects
from brodmann.localize.edge_attribution import eap
from brodmann.localize.edge_runs import reading_of
from tests.reference.circuits import Gpt2Like, LlamaLike, edges_by_hand
from tests.tiny.opened import opened

ASKED = Example("12+34=", "46", "")
REFERENCE = [Example("5+7=", "12", ""), Example("98-3=", "95", "")]
SLOW = {"llama": LlamaLike, "gpt2": Gpt2Like}


@pytest.fixture(params=sorted(SLOW))
def pair(request):
    model = opened(request.param, torch.float64)
    reading = reading_of(model, ASKED, "first")
    slow = SLOW[request.param](model.hf)
    keys = 2 if request.param == "llama" else 4
    edges = edges_by_hand(model.n_layers, 4, keys)
    return model, slow, list(reading.ids), reading.targets[0], edges


def means(model, slow):
    first, other = {}, {}
    for example in REFERENCE:
        reading = reading_of(model, example, "first")
        slow.loss(list(reading.ids), 0, set(), {})
        for name, value in slow.sent.items():
            first.setdefault(name, []).append(value[0])
            other.setdefault(name, []).extend(value[1:])
    n = len(reading_of(model, ASKED, "first").ids)
    return {
        name: torch.stack([torch.stack(first[name]).mean(0)]
                          + [torch.stack(other[name]).mean(0)] * (n - 1))
        for name in first
    }  # fmt: skip


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_each_edge_is_removed_as_by_hand(pair, ablation):
    model, slow, ids, target, edges = pair
    zero = ablation == "zero"
    instead = {} if zero else means(model, slow)
    found = edge_effects(model, ASKED, ablation=ablation, reference=None if zero else REFERENCE)
    clean = slow.loss(ids, target, set(), instead)
    assert set(edges) == {
        (found.graph.senders[s], found.graph.receivers[r])
        for s, r in found.graph.exists.nonzero().tolist()
    }
    for sender, receiver in edges:
        expected = slow.loss(ids, target, {(sender, receiver)}, instead) - clean
        place = found.graph.senders.index(sender), found.graph.receivers.index(receiver)
        assert float(found.values[place]) == pytest.approx(expected, abs=1e-5), (sender, receiver)


def test_eap_is_the_slope_of_fading_an_edge(pair):
    model, slow, ids, target, edges = pair
    clean = slow.loss(ids, target, set(), {})
    sent, little = dict(slow.sent), 1e-4
    found = eap(model, ASKED)
    for sender, receiver in edges[::3]:
        faded = {name: (1 - little) * value for name, value in sent.items()}
        slope = (slow.loss(ids, target, {(sender, receiver)}, faded) - clean) / little
        place = found.graph.senders.index(sender), found.graph.receivers.index(receiver)
        assert float(found.values[place]) == pytest.approx(slope, abs=2e-3, rel=2e-3)


def test_acdc_removes_what_one_run_per_edge_removes(pair):
    model, slow, ids, target, edges = pair
    tau = 0.05
    circuit = acdc(model, ASKED, tau=tau, batch_size=7)
    order = {name: place for place, name in enumerate(circuit.graph.senders)}
    queue = sorted(
        edges,
        key=lambda e: (circuit.graph.receivers.index(e[1]), order[e[0]]),
        reverse=True,
    )
    gone, loss = set(), slow.loss(ids, target, set(), {})
    for edge in queue:
        without = slow.loss(ids, target, gone | {edge}, {})
        if without - loss < tau:
            gone, loss = gone | {edge}, without
    assert set(circuit.pairs) == set(edges) - gone
