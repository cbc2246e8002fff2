"""ACDC: remove edges one after the other, from the logits down, while the answer stays."""

from typing import Literal

import torch
from torch import Tensor

from brodmann.errors import InputError, MismatchError
from brodmann.localize.circuits import Circuit, circuit_provenance
from brodmann.localize.edge_runs import Asked, EdgeRuns, example_of, reading_of
from brodmann.localize.sender_means import Reference, replacements
from brodmann.models.component_graph import EdgeMask
from brodmann.models.components import components_of
from brodmann.models.language_model import LanguageModel
from brodmann.progress import progress as bar


def acdc(
    model: LanguageModel,
    fact: Asked,
    *,
    tau: int | float = 0.01,
    ablation: str = "zero",
    reference: Reference | None = None,
    candidates: Circuit | None = None,
    target: str = "first",
    batch_size: int | Literal["auto"] = "auto",
    progress: bool | None = None,
) -> Circuit:
    """The circuit of one fact by greedy removal of edges (cnl.txt, Eq. 12).

    Receivers are visited from the logits down, and the senders of each from the last up. An edge
    stays out when S(e) = -log P(o) without it + log P(o) with it, given all that is out already,
    is below tau (signed, as published: what helps when removed goes). Edges into components that
    lead nowhere any more go without a run, as they cannot change the answer.

    Exactly as one run per edge would have it, but in batches: row i removes the next i edges
    together, and rows count up to the first edge that has to stay. Layers below the receiver are
    not run again. What differs from the peers (ACDC, Knowledge-Circuits): the loss is read at the
    answer's position alone, not averaged over the prompt; parallel blocks have no edges from heads
    to the MLP beside them; removing the embedding's edges leaves what other edges carry.

    Args:
        model: the model to look into.
        fact: a fact (its first prompt) or an example.
        tau: nats that an edge must be worth.
        ablation: what a removed edge carries: ``"zero"`` or the sender's ``"mean"``.
        reference: prompts for the mean, such as facts of the same relation; or their means, by
            :func:`brodmann.localize.sender_means.sender_means`, which serve many calls.
        candidates: edges to start from, such as ``eap_ig(...).top(2000)``; all others are out from
            the beginning and never tested, which is not the full method. None: all edges.
        target: ``"first"`` answer token, or ``"all"`` of them, teacher-forced and summed.
        batch_size: runs at a time, or ``"auto"``.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Returns:
        The edges that stay. ``provenance["runs"]`` counts the masks that were run.

    Raises:
        InputError: an option out of range.
        DataError: prompt and answer that do not tokenise apart.
        MismatchError: candidates or means of another model.
        ModelError: the attention cannot be split into heads.
    """
    if not tau > 0:
        raise InputError(f"Expected a tau above 0 nats; got {tau:g}.")
    components = components_of(model)
    reading = reading_of(model, fact, target)
    replaced = replacements(model, ablation, reference, len(reading.ids))
    edges = components.graph.exists
    if candidates is not None:
        candidates.check_belongs(model)
        if candidates.graph != components.graph:
            raise MismatchError(f"Expected candidate edges of {model.name}; got another model's.")
        edges = candidates.edges
    runs = EdgeRuns(model, components, reading, replaced, edges, batch_size)
    kept, count = _removed(runs, tau, progress)
    options = {
        "tau": tau,
        "ablation": ablation,
        "reference": len(reference or ()),
        "target": target,
        "candidates": None if candidates is None else len(candidates),
        "prompt": example_of(fact).prompt,
        "answer": example_of(fact).answer,
    }
    provenance = dict(circuit_provenance(model, "acdc", options)) | {"runs": count}
    return Circuit(components.graph, kept, provenance)


def _removed(runs: EdgeRuns, tau: int | float, progress: bool | None) -> tuple[EdgeMask, int]:
    graph = runs.components.graph
    edges, loss, count = runs.base.clone(), runs.loss, 0
    receivers = list(reversed(range(len(graph.receivers))))
    for receiver in bar(receivers, label="ACDC", shown=progress):
        if not bool(edges[:, receiver].any()):
            continue
        if not bool(graph.leading_on(edges)[receiver]):
            edges[:, receiver] = False
        waiting = edges[:, receiver].nonzero()[:, 0].flip(0).tolist()
        while waiting:
            trial = waiting[: runs.rows]
            masks = _without(edges, receiver, trial)
            losses = runs.losses(masks)
            count += len(trial)
            rises = losses - torch.cat([losses.new_tensor([loss]), losses[:-1]])
            staying = (~(rises < tau)).nonzero()[:, 0].tolist()
            n_out = staying[0] if staying else len(trial)
            if n_out:
                edges, loss = masks[n_out - 1], float(losses[n_out - 1])
            waiting = waiting[n_out + bool(staying) :]
    return edges, count


def _without(edges: EdgeMask, receiver: int, senders: list[int]) -> Tensor:
    """A mask for each sender: it and those before it are out."""
    masks = edges.repeat(len(senders), 1, 1)
    for row in range(len(senders)):
        masks[row, senders[: row + 1], receiver] = False
    return masks
