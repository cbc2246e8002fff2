"""A circuit as a picture: layers from the bottom up, heads beside MLPs, edges by their strength."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from brodmann.localize.circuits import Circuit
from brodmann.localize.edge_scores import EdgeScores
from brodmann.models.component_graph import ComponentGraph
from brodmann.report.figure_style import CYCLE, picture, short

MOST_EDGES = 300
"""More lines than these cover each other; the strongest are drawn."""

_KINDS = {"q": "into queries", "k": "into keys", "v": "into values", "m": "into MLPs and logits"}
_BESIDE = {"q": -0.09, "k": 0.0, "v": 0.09, "m": 0.0}
"""Where lines of each kind end, so that those into one head lie side by side."""

_COLOURS = dict(zip(_KINDS, (CYCLE[0], CYCLE[2], CYCLE[1], CYCLE[6]), strict=True))

Place = tuple[float, float]


def draw_circuit(
    circuit: Circuit, path: Path, *, scores: EdgeScores | None = None, title: str = ""
) -> str:
    """Draw a circuit; returns what the picture shows.

    Args:
        circuit: what to draw.
        path: the PNG to write.
        scores: how strong each edge is; all are drawn alike without.
        title: what the circuit is of, such as the prompt and its answer.
    """
    graph = circuit.graph
    drawn = _strongest(circuit, scores)
    told = f"{len(circuit):,} of {graph.n_edges:,} edges"
    if len(drawn) < len(circuit):
        told += f" (the {len(drawn)} strongest drawn)"
    height = 1.6 + 0.26 * (graph.n_layers + 2)
    widest = max(graph.heads)
    named = short(title, 60)
    heading = f"{named}: {told}" if title else told
    with picture(path, max(5.2, 2.4 + 0.3 * widest), height, f"{named}\n{told}") as figure:
        axes = figure.subplots()
        _draw_edges(axes, circuit, drawn)
        _draw_nodes(axes, circuit)
        axes.set_xlim(-1, widest + 1)
        axes.set_ylim(-1.6, graph.n_layers + 0.6)
        axes.set_yticks(range(0, graph.n_layers, 1 + graph.n_layers // 12))
        ticks = range(0, widest, 1 + widest // 12)
        axes.set_xticks([*ticks, widest], [*map(str, ticks), "MLP"])
        axes.set_xlabel("head")
        axes.set_ylabel("layer")
        handles = [Line2D([], [], color=_COLOURS[kind], label=_KINDS[kind]) for kind in _KINDS]
        figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False)
    strength = "; wider lines are stronger" if scores is not None else ""
    return f"{heading}. Filled circles are heads and squares MLPs of the circuit{strength}."


def _strongest(circuit: Circuit, scores: EdgeScores | None) -> list[tuple[int, int, float]]:
    """The edges to draw with their strength from 0 to 1, the strongest last."""
    places = circuit.edges.nonzero()
    if scores is None:
        return [(s, r, 0.5) for s, r in places[:MOST_EDGES].tolist()]
    found = scores.values[places[:, 0], places[:, 1]].abs().double()
    order = found.argsort(descending=True, stable=True)[:MOST_EDGES]
    largest = float(found.max().clamp_min(torch.finfo(torch.float64).tiny)) if len(found) else 1.0
    return [
        (int(places[i, 0]), int(places[i, 1]), float(found[i]) / largest)
        for i in order.flip(0).tolist()
    ]


def _draw_edges(axes: Axes, circuit: Circuit, drawn: list[tuple[int, int, float]]) -> None:
    graph = circuit.graph
    senders, receivers = _sender_places(graph), _receiver_places(circuit)
    for kind, colour in _COLOURS.items():
        own = [edge for edge in drawn if _kind(graph.receivers[edge[1]]) == kind]
        if not own:
            continue
        lines = LineCollection(
            [[senders[s], (receivers[r][0] + _BESIDE[kind], receivers[r][1])] for s, r, _ in own],
            colors=colour,
            linewidths=[0.4 + 2.2 * strength for _, _, strength in own],
            alpha=[0.25 + 0.65 * strength for _, _, strength in own],
            zorder=2,
        )
        axes.add_collection(lines)


def _draw_nodes(axes: Axes, circuit: Circuit) -> None:
    kept = set(circuit.nodes)
    for name, (x, y) in zip(circuit.graph.senders, _sender_places(circuit.graph), strict=True):
        marker, size = ("o", 16) if name.startswith("a") else ("s", 22)
        face = "#333333" if name in kept else "white"
        edge = "#333333" if name in kept else "#cccccc"
        axes.scatter(x, y, s=size, marker=marker, c=face, edgecolors=edge, linewidths=0.6, zorder=3)
    top = _receiver_places(circuit)[-1]
    face = "#333333" if "logits" in kept else "white"
    axes.scatter(*top, s=22, marker="D", c=face, edgecolors="#333333", zorder=3)
    axes.annotate("logits", top, xytext=(7, -3), textcoords="offset points")
    bottom = _sender_places(circuit.graph)[0]
    axes.annotate("embedding", bottom, xytext=(7, -3), textcoords="offset points")


def _sender_places(graph: ComponentGraph) -> list[Place]:
    widest = max(graph.heads)
    places: list[Place] = [((widest - 1) / 2, -1.0)]
    for layer, heads in enumerate(graph.heads):
        places += [(float(head), float(layer)) for head in range(heads)]
        places.append((float(widest), layer + (0.0 if graph.parallel[layer] else 0.4)))
    return places


def _receiver_places(circuit: Circuit) -> list[Place]:
    """Where edges end: a key or value input that heads share, at the middle of those kept."""
    graph, kept = circuit.graph, set(circuit.nodes)
    senders = _sender_places(graph)
    sharing: list[list[int]] = [[] for _ in graph.receivers[:-1]]
    for sender, inputs in enumerate(graph.inputs):
        for place in inputs:
            sharing[place].append(sender)
    places: list[Place] = []
    for heads in sharing:
        own = [senders[head] for head in heads if graph.senders[head] in kept]
        own = own or [senders[head] for head in heads]
        places.append((sum(x for x, _ in own) / len(own), own[0][1]))
    return [*places, ((max(graph.heads) - 1) / 2, float(graph.n_layers))]


def _kind(receiver: str) -> str:
    kind = receiver.partition(".")[2][:1]
    return kind or "m"
