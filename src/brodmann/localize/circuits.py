"""`Circuit`: some edges of a model's component graph, as a value."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from brodmann.errors import InputError, MismatchError
from brodmann.models.attention_sites import AttentionSite, attention_sites
from brodmann.models.component_graph import ComponentGraph, EdgeMask
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import DenseSite, NeuronSite
from brodmann.neurons import NeuronSet
from brodmann.neurons.provenance import Provenance, check_made_on, check_same_model
from brodmann.neurons.similarity import iou_of, overlap_of
from brodmann.storage import new_folder, read_json, read_tensors, write_json, write_tensors

KIND = "brodmann circuit 1"
"""What the files say they are; the number is the version of the format."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """Edges of a component graph: what a method keeps of it (cnl.txt, Eq. 3).

    Attributes:
        graph: all components and edges of the model.
        edges: True for the edges that are kept [senders, receivers].
        provenance: model, fingerprint, method and rule, in JSON types.
    """

    graph: ComponentGraph
    edges: EdgeMask
    provenance: Provenance = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.edges.shape != self.graph.exists.shape:
            raise InputError(
                f"Expected a mask of {len(self.graph.senders)} senders by "
                f"{len(self.graph.receivers)} receivers; got {tuple(self.edges.shape)}."
            )
        if bool((self.edges & ~self.graph.exists).any()):
            raise InputError("Expected edges that exist; the mask holds some that lead backwards.")

    def __len__(self) -> int:
        return int(self.edges.sum())

    def __repr__(self) -> str:
        return (
            f"Circuit({len(self):,} of {self.graph.n_edges:,} edges, {len(self.nodes):,} of "
            f"{len(self.graph.senders) + 1:,} nodes)"
        )

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """The components that an edge of the circuit starts or ends at, by their senders' names.

        A head is one node, with its query, key and value inputs; a key or value input counts for
        those of its heads that send anything in the circuit, for all of them where none does.
        """
        used = self.edges.any(1)
        reading = self.edges.any(0)
        sharing: dict[int, list[int]] = {}
        for sender, inputs in enumerate(self.graph.inputs):
            for place in inputs:
                sharing.setdefault(place, []).append(sender)
        found = used.clone()
        for place in reading[:-1].nonzero()[:, 0].tolist():
            heads = sharing[place]
            if not bool(used[heads].any()):
                found[heads] = True
        names = [name for name, kept in zip(self.graph.senders, found, strict=True) if kept]
        return (*names, "logits") if bool(reading[-1]) else tuple(names)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The edges by the names of sender and receiver, in the order in which they run."""
        senders, receivers = self.graph.senders, self.graph.receivers
        return [(senders[s], receivers[r]) for s, r in self.edges.nonzero().tolist()]

    def complement(self) -> "Circuit":
        """All other edges."""
        return Circuit(self.graph, self.graph.exists & ~self.edges, self.provenance)

    def on_paths(self) -> "Circuit":
        """Without the edges that lie on no path from the embedding to the logits."""
        return Circuit(self.graph, self.graph.on_paths(self.edges), self.provenance)

    def overlap(self, other: "Circuit") -> float:
        """The mean of the shares of each circuit's edges that the other has too (CNL Eq. 9)."""
        return overlap_of(self._common(other), len(self), len(other))

    def jaccard(self, other: "Circuit") -> float:
        """Edges in both over edges in any of the two."""
        return iou_of(self._common(other), len(self), len(other))

    def _common(self, other: "Circuit") -> int:
        check_same_model(self.provenance, other.provenance, "circuits")
        if self.graph != other.graph:
            raise MismatchError("Expected circuits of one model; their components differ.")
        return int((self.edges & other.edges).sum())

    def check_belongs(self, model: LanguageModel) -> None:
        """Refuse a circuit that was located on another model.

        Raises:
            MismatchError: the fingerprints differ.
        """
        remedy = "Locate it on this model."
        check_made_on(model.fingerprint, model.name, self.provenance, "a circuit", remedy)

    def parameter_share(self, model: LanguageModel) -> float:
        """The fraction of the model's parameters that belong to the circuit's heads and MLPs.

        A head's are its rows of the query map, its columns of the output map, and its key head's
        rows of the key and value maps, which count once where heads share them; an MLP's are all
        of its projections (and its router). Norms, embeddings and unembedding belong to no node.

        Raises:
            MismatchError: the circuit is another model's.
        """
        self.check_belongs(model)
        kept = set(self.nodes)
        own = 0
        for layer, (site, attention) in enumerate(
            zip(model.sites, attention_sites(model), strict=True)
        ):
            heads = [head for head in range(attention.heads) if f"a{layer}.h{head}" in kept]
            own += _head_parameters(attention, heads)
            own += _mlp_parameters(site) if f"m{layer}" in kept else 0
        return own / sum(parameter.numel() for parameter in model.hf.parameters())

    def neurons(self, model: LanguageModel) -> NeuronSet:
        """All neurons of the circuit's MLPs: a projection of our own, for comparison tables.

        Circuits hold whole components; no paper says which neurons they mean.

        Raises:
            MismatchError: the circuit is another model's.
        """
        self.check_belongs(model)
        layers = [layer for layer in range(model.n_layers) if f"m{layer}" in set(self.nodes)]
        mask = torch.zeros_like(model.real)
        mask[layers] = True
        rule = {"projection": "all neurons of the circuit's MLPs"}
        return NeuronSet.from_mask(
            mask & model.real, model.real, dict(self.provenance) | {"rule": rule}
        )

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Save the circuit as a new folder of ``circuit.safetensors`` and ``circuit.json``.

        Raises:
            InputError: the folder exists and ``overwrite`` is off.
        """
        with new_folder(folder, overwrite) as new:
            self.write_into(new)

    def write_into(self, folder: Path) -> None:
        """Write the circuit's two files into a folder that exists and may hold others."""
        summary = {
            "kind": KIND,
            "model": self.provenance.get("model"),
            "fingerprint": self.provenance.get("fingerprint"),
            "graph": asdict(self.graph),
            "n_edges": len(self),
            "nodes": self.nodes,
            "provenance": self.provenance,
        }
        write_tensors(folder / "circuit.safetensors", {"edges": self.edges}, {"kind": KIND})
        write_json(folder / "circuit.json", summary)

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: LanguageModel | None = None) -> "Circuit":
        """Load a circuit from a folder that :meth:`save` made.

        Args:
            folder: where it is.
            model: the model that it must belong to, if any.

        Raises:
            InputError: the folder is missing, corrupt, or holds something else.
            MismatchError: the circuit was located on another model.
        """
        tensors, metadata = read_tensors(Path(folder) / "circuit.safetensors")
        summary = read_json(Path(folder) / "circuit.json")
        if metadata.get("kind") != KIND or not _tells_of(summary, tensors):
            raise InputError(f"Expected a {KIND} in {folder}; it holds something else.")
        graph = ComponentGraph(**{name: tuple(row) for name, row in summary["graph"].items()})
        circuit = cls(graph, tensors["edges"], dict(summary["provenance"]))
        if model is not None:
            circuit.check_belongs(model)
        return circuit


def circuit_provenance(model: LanguageModel, method: str, options: Mapping[str, Any]) -> Provenance:
    """What a circuit or edge scores say of where they come from."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "method": method,
        "options": dict(options),
    }


def _tells_of(summary: Any, tensors: Mapping[str, torch.Tensor]) -> bool:
    return (
        isinstance(summary, Mapping)
        and summary.get("kind") == KIND
        and "edges" in tensors
        and summary.get("n_edges") == int(tensors["edges"].sum())
        and isinstance(summary.get("graph"), Mapping)
        and isinstance(summary.get("provenance"), Mapping)
    )


def _head_parameters(attention: AttentionSite, heads: list[int]) -> int:
    if not heads:
        return 0
    group = attention.heads // attention.key_heads
    key_heads = len({head // group for head in heads})
    each = attention.queries.parameters_per_head + attention.output_parameters_per_head
    shared = attention.keys.parameters_per_head + attention.values.parameters_per_head
    return len(heads) * each + key_heads * shared


def _mlp_parameters(site: NeuronSite) -> int:
    modules: tuple[nn.Module, ...] = (site.mlp,)
    if isinstance(site, DenseSite) and site.mlp is site.layer_module:  # OPT has no MLP module
        modules = (*site.inward, site.down)
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
