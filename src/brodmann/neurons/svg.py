"""Small static pictures for notebooks: plain numbers and text in, one SVG string out.

Every text is escaped here, because provenance holds names that came from files and the hub.
"""

from collections.abc import Sequence
from html import escape

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.shapes import LayerNeuron

WIDTH = 640
LEFT = 34
POSITIVE, NEGATIVE, NEUTRAL = "#c0392b", "#2166ac", "#4a7a8c"
_BARS = "▁▂▃▄▅▆▇█"
_FAINTEST = 0.03


def bars(counts: Sequence[int]) -> str:
    """Return one block character per count; a dot for none."""
    largest = max(counts, default=0)
    return "".join(
        _BARS[-(-count * len(_BARS) // largest) - 1] if count else "·" for count in counts
    )


def strip_svg(counts: Sequence[int], title: str, caption: str) -> str:
    """Draw a bar per layer, as tall as its count.

    Args:
        counts: neurons of each layer, from the bottom up.
        title: the line above.
        caption: the line below.
    """
    height, largest = 60, max(max(counts, default=0), 1)
    step = (WIDTH - LEFT) / max(len(counts), 1)
    shapes = []
    for layer, count in enumerate(counts):
        tall = height * count / largest
        shapes.append(
            f'<rect x="{LEFT + layer * step:.1f}" y="{height - tall:.1f}" '
            f'width="{0.85 * step:.1f}" height="{tall:.1f}" fill="{NEUTRAL}">'
            f"<title>layer {layer}: {count}</title></rect>"
        )
    shapes.append(_line(0, height, WIDTH, height))
    shapes += [_text(0, 10, str(largest)), _text(0, height, "0")]
    shapes += [_text(LEFT, height + 14, "layer 0")]
    shapes += [_text(WIDTH, height + 14, f"layer {len(counts) - 1}", "end")]
    return _picture(shapes, height + 20, title, caption)


def map_svg(values: LayerNeuron, title: str, caption: str, bin_size: int | None = None) -> str:
    """Draw scores as a map of layers (bottom up) by bins of neighbouring neurons (cnl.txt Fig. 4).

    A bin shows its neuron of largest magnitude: red where positive, blue where negative, the
    stronger the darker.

    Args:
        values: signed scores.
        title: the line above.
        caption: the line below.
        bin_size: neurons of a bin; by default so many that there are at most 120 bins.
    """
    bin_size = bin_size or -(-values.shape[1] // 120)
    bins = extremes(values, bin_size)
    n_layers, n_bins = bins.shape
    wide, tall = (WIDTH - LEFT) / n_bins, max(3.0, min(12.0, 300 / n_layers))
    depth = bins.abs() / bins.abs().max().clamp_min(torch.finfo(bins.dtype).tiny)
    shapes = [
        f'<rect x="{LEFT + column * wide:.1f}" y="{(n_layers - 1 - layer) * tall:.1f}" '
        f'width="{wide:.1f}" height="{tall:.1f}" '
        f'fill="{POSITIVE if bins[layer, column] > 0 else NEGATIVE}" '
        f'fill-opacity="{depth[layer, column].item():.2f}"/>'
        for layer, column in (depth >= _FAINTEST).nonzero().tolist()
    ]
    height = n_layers * tall
    shapes += [_line(LEFT, height, WIDTH, height), _line(LEFT, 0, LEFT, height)]
    shapes += [_text(0, 10, str(n_layers - 1)), _text(0, height, "0")]
    shapes += [_text(LEFT, height + 14, f"neurons, strongest of each {bin_size}")]
    return _picture(shapes, height + 20, title, caption)


def extremes(values: LayerNeuron, bin_size: int) -> Float[Tensor, "L bins"]:
    """Return, for each bin of neighbouring neurons, the signed value of largest magnitude."""
    missing = -values.shape[1] % bin_size
    padded = torch.nn.functional.pad(values, (0, missing)).unflatten(1, (-1, bin_size))
    return padded.gather(2, padded.abs().argmax(2, keepdim=True))[..., 0].clone()


def _picture(shapes: Sequence[str], height: int | float, title: str, caption: str) -> str:
    style = "font-family:sans-serif;font-size:12px"
    return (
        f'<div style="{style}"><div><b>{escape(title)}</b></div>'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}" '
        f'fill="currentColor" font-size="11">{"".join(shapes)}</svg>'
        f'<div style="opacity:0.7">{escape(caption)}</div></div>'
    )


def _text(x: int | float, y: int | float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: int | float, y1: int | float, x2: int | float, y2: int | float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="currentColor" stroke-opacity="0.4"/>'
