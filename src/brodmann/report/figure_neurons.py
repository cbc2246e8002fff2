"""Where the neurons are: layer × neuron, darker where scores are large (cnl.txt Fig. 4)."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from brodmann.neurons import NeuronScores, NeuronSet
from brodmann.report.figure_style import COLOURS, panels, picture, short
from brodmann.report.results import RULES, Results

NEIGHBOURS = 100
"""A square shows the largest absolute score among so many neighbouring neurons."""

_COLUMNS = 2


def draw_neurons(results: Results, path: Path) -> str:
    """Draw a panel per capability; returns what the picture shows."""
    names = results.capabilities
    rows = -(-len(names) // _COLUMNS)
    title = f"Largest |score| among {NEIGHBOURS} neighbouring neurons, and the located neurons"
    with picture(path, 10.5, 0.6 + 3.3 * rows, title) as figure:
        grid = panels(figure, rows, min(_COLUMNS, len(names)))
        flat = [axes for line in grid for axes in line]
        for axes, name in zip(flat, names, strict=False):
            image = _panel(axes, results, name)
            bar = figure.colorbar(
                image, ax=axes, pad=0.01, fraction=0.04, ticks=MaxNLocator(4, prune="lower")
            )
            bar.set_label("|score|, logits" if results.run["config"]["method"] == "dcsn" else "")
        for axes in flat[len(names) :]:
            axes.axis("off")
        handles, labels = flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=2, frameon=False)
    return (
        f"{title}. Scores are means over all samples of a capability; darker is larger, scaled "
        "within each panel."
    )


def pooled(values: torch.Tensor, size: int = NEIGHBOURS) -> np.ndarray:
    """Return the largest absolute value of each run of ``size`` neighbours, by layer."""
    n = values.shape[1]
    padded = torch.nn.functional.pad(values.abs().double(), (0, -n % size))
    return padded.reshape(len(values), -1, size).amax(-1).numpy()


def _panel(axes: Axes, results: Results, capability: str) -> AxesImage:
    own = [r for r in results.rows("sets", capability=capability) if r["variant"] == "free"]
    folder = next(row["set"] for row in own).rpartition(".")[0]
    scores = NeuronScores.load(results.folder / "scores" / folder)
    found = pooled(scores.values)
    layers, width = scores.values.shape
    image = axes.imshow(
        found,
        cmap="Greys",
        norm=PowerNorm(0.4, vmin=0, vmax=float(found.max()) or 1.0),
        extent=(0, found.shape[1] * NEIGHBOURS, -0.5, layers - 0.5),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    counts, halo = [], [withStroke(linewidth=2.6, foreground="white")]
    for row in own:
        pairs = np.array(list(NeuronSet.load(results.folder / "sets" / row["set"])))
        counts.append(f"{len(pairs)} {RULES.get(row['rule'], row['rule'])}")
        places = (pairs[:, 1] + 0.5, pairs[:, 0]) if len(pairs) else ([], [])
        label = f"{RULES.get(row['rule'], row['rule'])} set"
        if row["rule"] == "raw":
            axes.scatter(*places, s=34, facecolors="none", edgecolors=COLOURS["raw"],
                         linewidths=1.1, label=label, path_effects=halo)  # fmt: skip
        else:
            axes.scatter(*places, s=34, c=COLOURS["contrast"], marker="+",
                         linewidths=1.2, label=label, path_effects=halo)  # fmt: skip
    axes.set_xlim(0, width)
    axes.set_title(f"{short(capability, 40)} ({', '.join(counts)})", loc="left")
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlabel("neuron")
    axes.set_ylabel("layer")
    return image
