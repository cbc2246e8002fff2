"""`edge_effects`: what the loss rises by without an edge, by running the model without it."""

from typing import Literal

import torch

from brodmann.errors import InputError
from brodmann.localize.circuits import circuit_provenance
from brodmann.localize.edge_runs import Asked, EdgeRuns, example_of, reading_of
from brodmann.localize.edge_scores import EdgeScores
from brodmann.localize.sender_means import Reference, replacements
from brodmann.models.component_graph import EdgeMask
from brodmann.models.components import components_of
from brodmann.models.language_model import LanguageModel
from brodmann.progress import progress as bar

_CHUNKS = 4
"""Batches between two steps of the bar."""


def edge_effects(
    model: LanguageModel,
    fact: Asked,
    *,
    edges: EdgeMask | None = None,
    ablation: str = "zero",
    reference: Reference | None = None,
    target: str = "first",
    batch_size: int | Literal["auto"] = "auto",
    progress: bool | None = None,
) -> EdgeScores:
    """S(e) = -log P(o) without the edge + log P(o) with all edges (cnl.txt, Eq. 12), one by one.

    The receiver reads the residual stream without what the sender adds to it (or with the
    sender's mean in its place); everything behind is computed anew, nothing else is touched. Each
    edge costs the layers from its receiver upwards: the exact numbers that
    :func:`brodmann.localize.edge_attribution.eap_ig` estimates for all edges at once.

    Args:
        model: the model to look into.
        fact: a fact (its first prompt) or an example.
        edges: which edges; all by default (a model of 135M has 70,000).
        ablation: as for :func:`brodmann.localize.acdc.acdc`; so are ``reference``, ``target``,
            ``batch_size`` and ``progress``.
        reference: prompts for the mean, or their means.
        target: answer tokens.
        batch_size: runs at a time.
        progress: the bar.

    Returns:
        Effects in nats; 0 for edges that were not asked for.

    Raises:
        InputError: an option out of range, or edges that do not exist.
        DataError: prompt and answer that do not tokenise apart.
        MismatchError: means of another model.
        ModelError: the attention cannot be split into heads.
    """
    components = components_of(model)
    graph = components.graph
    asked = graph.exists if edges is None else edges
    if asked.shape != graph.exists.shape or bool((asked & ~graph.exists).any()):
        raise InputError(
            f"Expected edges among the {graph.n_edges:,} of {model.name}; got others. Make the "
            "mask with graph.mask_of."
        )
    reading = reading_of(model, fact, target)
    replaced = replacements(model, ablation, reference, len(reading.ids))
    runs = EdgeRuns(model, components, reading, replaced, graph.exists, batch_size)
    # Those of one receiver together, so that a batch starts as high up as it can.
    places = asked.T.nonzero().flip(0)
    values = torch.zeros(asked.shape, dtype=torch.float64)
    size = _CHUNKS * runs.rows
    for start in bar(range(0, len(places), size), label="Edges", shown=progress):
        receivers, senders = places[start : start + size].T
        masks = graph.exists.repeat(len(senders), 1, 1)
        masks[torch.arange(len(senders)), senders, receivers] = False
        values[senders, receivers] = runs.losses(masks) - runs.loss
    options = {"ablation": ablation, "reference": len(reference or ()), "target": target}
    options |= {"prompt": example_of(fact).prompt, "answer": example_of(fact).answer}
    return EdgeScores(graph, values, circuit_provenance(model, "edge effects", options))
