"""Edge attribution patching, plain (EAP) and along a path (EAP-IG): all edges in a few passes."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.errors import DataError
from brodmann.localize.circuits import circuit_provenance
from brodmann.localize.edge_gradients import add_scores, edge_gradients
from brodmann.localize.edge_runs import (
    Asked,
    example_of,
    reading_of,
    room_for_rows,
    run_decoder,
)
from brodmann.localize.edge_scores import EdgeScores
from brodmann.localize.edge_traffic import FadingSenders, Recorder
from brodmann.localize.quadrature import quadrature_nodes
from brodmann.localize.sender_means import Reference, replacements
from brodmann.localize.targets import Reading
from brodmann.models.component_graph import ComponentGraph
from brodmann.models.component_hooks import Components, routed
from brodmann.models.components import components_of
from brodmann.models.language_model import LanguageModel

_SHRINKING = 4
"""alpha = u ** 4 where senders fade to nothing: norms undo a common factor until it is tiny."""

_KEPT_FOR_GRADIENTS = 4
"""Tensors as large as what all receivers read that wait for the backward pass."""

Points = tuple[Float[Tensor, "b S"], Float[Tensor, "b S"]]
"""For each row of a batch: the share that each sender keeps, and the weight of its scores."""


def eap(
    model: LanguageModel,
    fact: Asked,
    *,
    ablation: str = "zero",
    reference: Reference | None = None,
    target: str = "first",
) -> EdgeScores:
    """First-order effect of removing each edge: two passes for all of them.

    S(e) ~ <(what stands in the sender's place) - (what it sends), d(-log P(o)) / d(what the
    receiver reads)>, in the undisturbed run (Syed et al. 2023). Options as for :func:`eap_ig`.

    Blind in one place: a receiver of layer 0 reads the embedding alone, and the norm in front of
    it undoes any factor, so that under zero ablation these edges get 0, whatever they are worth.
    """
    components, reading, replaced = _prepared(model, fact, ablation, reference, target)
    graph = components.graph
    ones = torch.ones(1, len(graph.senders))
    values = _along(model, components, reading, replaced, iter([(ones, ones)]))
    options = _options(fact, ablation, reference, target)
    return EdgeScores(graph, values, circuit_provenance(model, "eap", options))


def eap_ig(
    model: LanguageModel,
    fact: Asked,
    *,
    steps: int = 5,
    ablation: str = "zero",
    reference: Reference | None = None,
    corrupted: str | None = None,
    target: str = "first",
) -> EdgeScores:
    """The effect of removing each edge, by gradients integrated along a path (EAP-IG).

    A receiver reads x_r = sum over senders of m_s a_s + (1 - m_s) b_s, with a_s what s sends and
    b_s what stands in its place (0, or its mean). As m fades from 1 to 0, dNLL/dm gives every
    edge a share:

    S(s -> r) = integral of <b_s - a_s(m), dNLL/dx_r (m)>.

    All m fade together, so that all scores add up to NLL(all ablated) - NLL as steps grow. Under
    zero ablation the norms in front of the receivers undo the common factor until it is tiny:
    down to there the path says what :func:`eap` says, and the rest of the way needs steps that
    crowd at 0.

    With ``corrupted`` the published variant runs instead (Hanna et al. 2024): the embeddings go
    from the corrupted prompt's to the clean one's, and S = <a_corrupted - a_clean, mean over steps
    of dNLL/dx_r>.

    What differs from the peer (EAP-IG): paths for zero and mean ablation that are complete; keys
    and values of grouped-query attention stay one component; the loss at the answer alone.

    Args:
        model: the model to look into.
        fact: a fact (its first prompt) or an example.
        steps: gradient evaluations.
        ablation: ``"zero"`` or ``"mean"``; not used with ``corrupted``.
        reference: prompts for the mean, such as facts of the same relation; or their means, by
            :func:`brodmann.localize.sender_means.sender_means`, which serve many calls.
        corrupted: a prompt of as many tokens about another subject.
        target: ``"first"`` answer token, or ``"all"`` of them, teacher-forced and summed.

    Returns:
        Expected rises of the loss in nats, for every edge.

    Raises:
        InputError: an option out of range.
        DataError: prompt and answer that do not tokenise apart; a corrupted prompt of another
            length.
        MismatchError: means of another model.
        ModelError: the attention cannot be split into heads.
    """
    components, reading, replaced = _prepared(model, fact, ablation, reference, target)
    graph = components.graph
    options = _options(fact, ablation, reference, target) | {"steps": steps}
    if corrupted is not None:
        options = options | {"corrupted": corrupted, "ablation": "corrupted"}
        values = _from_corrupted(model, components, fact, corrupted, steps, target)
    else:
        read = len(graph.receivers) * len(reading.ids) * model.width
        points = _points(graph, steps, ablation, room_for_rows(_KEPT_FOR_GRADIENTS * read))
        values = _along(model, components, reading, replaced, points)
    return EdgeScores(graph, values, circuit_provenance(model, "eap-ig", options))


def _prepared(
    model: LanguageModel,
    fact: Asked,
    ablation: str,
    reference: Reference | None,
    target: str,
) -> tuple[Components, Reading, Tensor | None]:
    components = components_of(model)
    reading = reading_of(model, fact, target)
    replaced = replacements(model, ablation, reference, len(reading.ids))
    return components, reading, replaced


def _options(
    fact: Asked, ablation: str, reference: Reference | None, target: str
) -> dict[str, Any]:
    example = example_of(fact)
    return {
        "ablation": ablation,
        "reference": len(reference or ()),
        "target": target,
        "prompt": example.prompt,
        "answer": example.answer,
    }


def _points(graph: ComponentGraph, steps: int, ablation: str, rows: int) -> Iterator[Points]:
    """Batches of points on the path."""
    places, weights = quadrature_nodes("midpoint", steps)
    if ablation == "zero":
        weights = weights * _SHRINKING * places ** (_SHRINKING - 1)
        places = places**_SHRINKING
    columns = [part[:, None].expand(-1, len(graph.senders)) for part in (places, weights)]
    return zip(*(column.split(rows) for column in columns), strict=True)


def _along(
    model: LanguageModel,
    components: Components,
    reading: Reading,
    replaced: Tensor | None,
    points: Iterator[Points],
) -> Float[Tensor, "S R"]:
    graph = components.graph
    scores = torch.zeros(len(graph.senders), len(graph.receivers), dtype=torch.float64)
    for kept, counted in points:
        traffic = FadingSenders(graph, kept, replaced)
        gradients = edge_gradients(model, components, reading, traffic, len(kept))
        gaps = -traffic.recorder.values
        if replaced is not None:
            gaps = gaps + replaced.to(gaps)
        add_scores(scores, components, gaps * counted[:, :, None, None].to(gaps), gradients)
    return scores


def _from_corrupted(
    model: LanguageModel,
    components: Components,
    fact: Asked,
    corrupted: str,
    steps: int,
    target: str,
) -> Float[Tensor, "S R"]:
    example = example_of(fact)
    clean = reading_of(model, example, target)
    other = reading_of(model, type(example)(corrupted, example.answer, example.delimiter), target)
    if len(other.ids) != len(clean.ids):
        raise DataError(
            f"Expected a corrupted prompt of {len(clean.ids)} tokens, as '{example.prompt}' has; "
            f"got {len(other.ids)} in '{corrupted}'. Choose a subject of as many tokens."
        )
    sent = []
    for reading in (clean, other):
        recorder = Recorder()
        with torch.no_grad(), routed(components, recorder):
            run_decoder(model, [reading.ids])
        sent.append(recorder.values)
    gaps = sent[1] - sent[0]
    graph = components.graph
    scores = torch.zeros(len(graph.senders), len(graph.receivers), dtype=torch.float64)
    places, _ = quadrature_nodes("right", steps)
    for share in places.tolist():
        entering = sent[1][:, 0] + share * (sent[0][:, 0] - sent[1][:, 0])
        traffic = FadingSenders(graph, None, None, entering)
        gradients = edge_gradients(model, components, clean, traffic, 1)
        add_scores(scores, components, gaps / steps, gradients)
    return scores
