import dataclasses

import pytest
import torch

from brodmann.data import Example
from brodmann.errors import DataError, InputError, MismatchError, ModelError
from brodmann.localize.acdc import acdc
from brodmann.localize.circuits import Circuit
from brodmann.localize.edge_ablation import edge_effects
from brodmann.localize.edge_attribution import eap, eap_ig
from brodmann.localize.edge_runs import EdgeRuns, reading_of
from brodmann.localize.edge_scores import EdgeScores
from brodmann.localize.sender_means import replacements, sender_means
from brodmann.models.component_graph import ComponentGraph
from brodmann.models.component_hooks import Traffic, routed
from brodmann.models.components import components_of
from tests.tiny import TINY_FAMILIES
from tests.tiny.opened import opened
from tests.tiny.planted_circuit import planted_circuit

ASKED = Example("12+34=", "46", "")
PARALLEL = {"phi", "gptj", "gpt_neox", "falcon", "falcon_new", "stablelm_parallel", "cohere",
            "cohere2"}  # fmt: skip
KEY_HEADS = {"phi": 4, "gpt2": 4, "gptj": 4, "gpt_neox": 4, "gpt_neox_sequential": 4, "gpt_neo": 4,
             "opt": 4, "bloom": 4, "mpt": 4, "falcon": 1}  # fmt: skip


class Sums(Traffic):
    """Holds the sum of what was sent against every stream that is read."""

    def __init__(self, graph):
        self.graph, self.parts, self.gaps = graph, [], []

    def sent(self, span, values, constant):
        added = values.sum(2) + (0 if constant is None else constant)
        self.parts += [0.0] * (span.stop - span.start - 1) + [added]

    def received(self, span, stream):
        gap = (sum(self.parts[: self.graph.before[span.start]]) - stream).abs().max()
        self.gaps.append(float(gap / stream.abs().max()))
        return stream[:, :, None]


def hooks_of(hf):
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in hf.modules()
    )


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_every_family_splits_into_components(family):
    model = opened(family)
    before = {name: value.clone() for name, value in model.hf.state_dict().items()}
    ids = torch.tensor([list(reading_of(model, ASKED, "first").ids)])
    plain = model.hf(input_ids=ids).logits.detach()
    hooks = hooks_of(model.hf)
    components = components_of(model)
    graph = components.graph
    assert graph.parallel == (family in PARALLEL,) * model.n_layers
    assert graph.heads == (4,) * model.n_layers
    assert graph.key_heads == (KEY_HEADS.get(family, 2),) * model.n_layers
    sums = Sums(graph)
    with torch.no_grad(), routed(components, sums):
        model.decoder(input_ids=ids, use_cache=False)
    assert len(sums.gaps) == 2 * model.n_layers + 1
    assert max(sums.gaps) < 1e-5

    runs = EdgeRuns(model, components, reading_of(model, ASKED, "first"), None, graph.exists, 8)
    expected = -torch.log_softmax(plain[0, -1].double(), -1)[runs.reading.targets[0]]
    assert runs.loss == pytest.approx(float(expected), abs=2e-5)
    places = graph.exists.nonzero()[torch.randperm(graph.n_edges)[:8]]
    masks = graph.exists.repeat(8, 1, 1)
    masks[torch.arange(8), places[:, 0], places[:, 1]] = False
    losses = runs.losses(masks)
    runs.set_base(masks[3])  # the whole model with one edge less, from the bottom
    assert runs.loss == pytest.approx(float(losses[3]), abs=2e-5)

    scores = eap_ig(model, ASKED, steps=2)
    assert bool(torch.isfinite(scores.values).all())
    assert bool((scores.values[graph.exists] != 0).any())
    assert bool((scores.values[~graph.exists] == 0).all())
    assert hooks_of(model.hf) == hooks
    assert torch.equal(model.hf(input_ids=ids).logits, plain)
    assert all(torch.equal(value, before[name]) for name, value in model.hf.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.hf.parameters())


def test_an_exception_in_the_middle_leaves_no_hook():
    model = opened("llama")
    hooks = hooks_of(model.hf)
    components = components_of(model)

    class Broken(Traffic):
        def received(self, span, stream):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), routed(components, Broken()):
        model.decoder(input_ids=torch.tensor([[1, 2, 3]]))
    assert hooks_of(model.hf) == hooks


@pytest.mark.parametrize("family", ["gpt2", "llama", "gpt_neox"])
@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_scores_along_the_path_add_up_to_what_all_edges_are_worth(family, ablation):
    model = opened(family, torch.float64)
    options = {"ablation": ablation}
    if ablation == "mean":
        options["reference"] = [Example("5+7=", "12", ""), Example("98-3=", "95", "")]
    scores = eap_ig(model, ASKED, steps=256 if ablation == "zero" else 32, **options)
    graph = scores.graph
    components = components_of(model)
    reading = reading_of(model, ASKED, "first")
    replaced = replacements(model, ablation, options.get("reference"), len(reading.ids))
    runs = EdgeRuns(model, components, reading, replaced, graph.exists, 1)
    worth = float(runs.losses(torch.zeros_like(graph.exists)[None])[0]) - runs.loss
    assert float(scores.values.sum()) == pytest.approx(worth, abs=2e-2 * max(1, abs(worth)))


def test_means_made_once_serve_as_their_prompts_do():
    model = opened("gemma2")
    prompts = [Example("5+7=", "12", ""), Example("98-3=", "95", "")]
    made = sender_means(model, prompts)
    assert len(made) == 2
    for method in (eap, eap_ig):
        once, again = (method(model, ASKED, ablation="mean", reference=one)
                       for one in (made, prompts))  # fmt: skip
        assert torch.equal(once.values, again.values) and once.provenance == again.provenance
    with pytest.raises(MismatchError, match="means of tiny-llama"):
        eap(opened("llama"), ASKED, ablation="mean", reference=made)
    with pytest.raises(InputError, match="none"):
        sender_means(model, [])


def test_a_planted_circuit_is_found():
    model, fact, edges = planted_circuit()
    assert acdc(model, fact, tau=0.05).pairs == edges
    assert eap_ig(model, fact).top(2).pairs == edges
    exact = edge_effects(model, fact)
    assert exact.top(2, signed=True).pairs == edges


def test_acdc_within_candidates_keeps_some_of_them():
    model = opened("llama")
    candidates = eap_ig(model, ASKED).top(60)
    circuit = acdc(model, ASKED, tau=0.05, candidates=candidates)
    assert 0 < len(circuit) <= len(candidates)
    assert not bool((circuit.edges & ~candidates.edges).any())


def test_an_answer_of_two_tokens_counts_both():
    model = opened("llama")
    first = edge_effects(model, ASKED, edges=components_of(model).graph.mask_of([("m0", "logits")]))
    both = edge_effects(
        model, ASKED, target="all",
        edges=components_of(model).graph.mask_of([("m0", "logits")]),
    )  # fmt: skip
    assert float(first.values.sum()) != pytest.approx(float(both.values.sum()), abs=1e-4)


def test_a_corrupted_prompt_replaces_the_ablation():
    model = opened("llama")
    same = eap_ig(model, ASKED, corrupted=ASKED.prompt)
    assert float(same.values.abs().max()) == 0
    other = eap_ig(model, ASKED, corrupted="12+94=", steps=3)
    effects = other.values[other.graph.exists]
    assert float(effects.abs().max()) > 0
    assert bool(torch.isfinite(effects).all())
    with pytest.raises(DataError, match="tokens"):
        eap_ig(model, ASKED, corrupted="1+4=")


class TestCircuit:
    graph = ComponentGraph((2, 2), (1, 1), (False, True))

    def circuit(self, *pairs):
        return Circuit(self.graph, self.graph.mask_of(pairs))

    def test_the_graph_knows_who_reads_whom(self):
        assert self.graph.senders == ("embedding", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1")
        assert self.graph.receivers == (
            "a0.q0", "a0.q1", "a0.k0", "a0.v0", "m0",
            "a1.q0", "a1.q1", "a1.k0", "a1.v0", "m1", "logits",
        )  # fmt: skip
        assert self.graph.before == (1, 1, 1, 1, 3, 4, 4, 4, 4, 4, 7)
        assert self.graph.n_edges == 4 + 3 + 16 + 4 + 7

    def test_edges_on_no_path_go(self):
        kept = self.circuit(("embedding", "a0.v0"), ("a0.h1", "m0"), ("m0", "logits"))
        dead = (("embedding", "m1"), ("a0.h0", "a1.k0"))
        circuit = self.circuit(*kept.pairs, *dead)
        assert circuit.on_paths().pairs == kept.pairs
        assert self.circuit(("m0", "logits")).on_paths().pairs == []

    def test_nodes_are_named_once(self):
        circuit = self.circuit(("embedding", "a0.v0"), ("a0.h1", "logits"))
        assert circuit.nodes == ("embedding", "a0.h1", "logits")
        assert self.circuit(("embedding", "a0.k0")).nodes == ("embedding", "a0.h0", "a0.h1")

    def test_how_alike_circuits_are(self):
        a = self.circuit(("embedding", "m0"), ("m0", "logits"))
        b = self.circuit(("embedding", "m0"), ("m0", "m1"), ("m1", "logits"))
        assert a.jaccard(b) == pytest.approx(1 / 4)
        assert a.overlap(b) == pytest.approx((1 / 2 + 1 / 3) / 2)
        assert len(a.complement()) == self.graph.n_edges - 2

    def test_no_edge_that_leads_backwards(self):
        with pytest.raises(InputError, match="does not read"):
            self.graph.mask_of([("a1.h0", "m1")])  # a parallel block
        with pytest.raises(InputError, match="got nothing"):
            self.graph.mask_of([("nothing", "m1")])
        with pytest.raises(InputError, match="backwards"):
            Circuit(self.graph, ~self.graph.exists)
        with pytest.raises(InputError, match="senders"):
            Circuit(self.graph, torch.zeros(2, 2, dtype=torch.bool))

    def test_the_strongest_edges(self):
        values = torch.zeros(self.graph.exists.shape)
        for number, pair in enumerate([("embedding", "m0"), ("m0", "logits"), ("m0", "m1")]):
            values[self.graph.mask_of([pair])] = (-1.0) ** number * (3 - number)
        scores = EdgeScores(self.graph, values)
        assert scores.top(2).pairs == [("embedding", "m0"), ("m0", "logits")]
        assert scores.top(3).pairs == [("embedding", "m0"), ("m0", "logits")]
        assert len(scores.top(3, prune=False)) == 3
        assert len(scores.top(fraction=0.5, prune=False)) == 17  # of 34
        assert scores.above(0.5, signed=True, prune=False).pairs == [
            ("embedding", "m0"), ("m0", "m1"),
        ]  # fmt: skip
        with pytest.raises(InputError, match="edges"):
            scores.top(0)
        with pytest.raises(InputError, match="fraction"):
            scores.top(fraction=2)
        with pytest.raises(InputError, match="either n or fraction"):
            scores.top(2, fraction=0.5)


def test_a_circuit_saves_and_belongs_to_its_model(tmp_path):
    model, other = opened("llama"), opened("llama", seed=1)
    circuit = eap_ig(model, ASKED, steps=1).top(20)
    circuit.save(tmp_path / "c")
    again = Circuit.load(tmp_path / "c", model)
    assert torch.equal(again.edges, circuit.edges)
    assert again.graph == circuit.graph and again.provenance == circuit.provenance
    with pytest.raises(MismatchError, match="circuit of tiny-llama"):
        Circuit.load(tmp_path / "c", other)
    with pytest.raises(MismatchError):
        circuit.parameter_share(other)
    with pytest.raises(InputError, match="safetensors"):
        Circuit.load(tmp_path / "nothing")


def test_parameters_of_heads_and_mlps_by_hand():
    model = opened("llama")  # width 32, heads of 8, 2 key heads, 48 neurons
    graph = components_of(model).graph
    circuit = Circuit(
        graph,
        graph.mask_of([
            ("embedding", "a0.v0"), ("a0.h0", "m1"), ("a0.h1", "m1"), ("m1", "logits"),
        ]),
    )  # fmt: skip
    own = 2 * (8 * 32 + 32 * 8) + 2 * 8 * 32 + 3 * 32 * 48
    total = sum(p.numel() for p in model.hf.parameters())
    assert circuit.parameter_share(model) == pytest.approx(own / total)
    neurons = circuit.neurons(model)
    assert neurons.counts.tolist() == [0, 48, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ablation": "noise"}, "ablation out of"),
        ({"ablation": "mean"}, "reference prompts"),
        ({"reference": [ASKED]}, "reference prompts"),
        ({"target": "last"}, "target"),
    ],
)
def test_wrong_options_are_one_line(options, message):
    model = opened("llama")
    for method in (eap, eap_ig, acdc, edge_effects):
        with pytest.raises(InputError, match=message) as caught:
            method(model, ASKED, **options)
        assert "\n" not in str(caught.value)


def test_wrong_numbers_are_refused():
    model = opened("llama")
    with pytest.raises(InputError, match="tau"):
        acdc(model, ASKED, tau=0)
    with pytest.raises(InputError, match="batch size"):
        acdc(model, ASKED, batch_size=0)
    with pytest.raises(InputError, match="steps"):
        eap_ig(model, ASKED, steps=0)
    with pytest.raises(InputError, match="edges"):
        edge_effects(model, ASKED, edges=torch.ones(3, 3, dtype=torch.bool))
    with pytest.raises(MismatchError):
        acdc(model, ASKED, candidates=eap(opened("gpt2"), ASKED).top(5))


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("gpt_neox", {"fused_layout": "blocks"}, "act on other heads"),
        ("gpt2", {"fused_layout": "groups"}, "act on other heads"),
        ("gemma2", {"attention_post_norm": None}, "miss the residual stream"),
        ("llama", {"attention_output": "out"}, "Expected 'out' in layer 0"),
    ],
)
def test_a_row_that_is_not_true_is_refused(family, change, message):
    model = opened(family)
    model.architecture = dataclasses.replace(model.architecture, **change)
    with pytest.raises(ModelError, match=message):
        components_of(model)
