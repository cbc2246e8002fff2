"""One look for all pictures: sizes, colours that colour-blind readers can tell, PNG and SVG."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase

DPI = 120
COLOURS = {"raw": "#d55e00", "contrast": "#0072b2", "random": "#8a8a8a"}
"""Of the two kinds of sets and of random ones (Okabe and Ito's palette)."""

CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "figure.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # Names come from users' files: a dollar sign is a dollar sign.
    "text.parse_math": False,
    "font.sans-serif": ["DejaVu Sans"],
}


@contextmanager
def picture(
    path: Path, width: float, height: float, title: str, *, svg: bool = False
) -> Iterator[Figure]:
    """Yield a figure, and write it as a PNG at the end.

    Args:
        path: the file.
        width: inches.
        height: inches.
        title: what the picture shows.
        svg: write it as an SVG, too, beside the PNG.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": "brodmann"}):
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, ha="left", x=0.01)
        yield figure
        # No date and no version in the files: equal results give equal bytes.
        figure.savefig(path, metadata={"Software": None})
        if svg:
            figure.set_layout_engine("none")  # it stays as it was laid out for the PNG
            drawing = path.with_suffix(".svg")
            figure.savefig(drawing, metadata={"Date": None, "Creator": None})


def panels(
    figure: FigureBase, rows: int, columns: int, *, shared: bool = False
) -> list[list[Axes]]:
    """Return a grid of axes."""
    return figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared).tolist()


def short(name: str, longest: int = 18) -> str:
    """Cut a long name."""
    name = " ".join(str(name).split())
    return name if len(name) <= longest else name[: longest - 1] + "…"


def ink(fraction: float) -> str:
    """Return black or white: what can be read on a colour this far along a light-to-dark map."""
    return "white" if fraction > 0.6 else "black"
