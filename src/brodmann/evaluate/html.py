"""An evaluation as a small static table and bar for notebooks."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, COLOUR = 320, 26, "#4a7a8c"


def evaluation_html(
    table: Sequence[tuple[str, str]],
    accuracy: float,
    interval: tuple[float, float],
    chance: float,
) -> str:
    """Draw the accuracy from 0 to 1 with its interval and the chance level, above a table.

    Args:
        table: names and values; every text is escaped.
        accuracy: the length of the bar.
        interval: the ends of the whisker.
        chance: where the dashed line stands.
    """
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in table
    )
    style = "font-family:sans-serif;font-size:12px"
    return f'<div style="{style}">{_bar(accuracy, interval, chance)}<table>{cells}</table></div>'


def _bar(accuracy: float, interval: tuple[float, float], chance: float) -> str:
    low, high, middle = WIDTH * interval[0], WIDTH * interval[1], HEIGHT / 2
    whisker = "".join(
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor"/>'
        for x1, y1, x2, y2 in (
            (low, middle, high, middle),
            (low, middle - 4, low, middle + 4),
            (high, middle - 4, high, middle + 4),
        )
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="accuracy {accuracy:.3f}">'
        f'<rect x="0.5" y="4.5" width="{WIDTH - 1}" height="{HEIGHT - 9}" fill="none" '
        f'stroke="currentColor" stroke-opacity="0.4"/>'
        f'<rect x="0" y="5" width="{WIDTH * accuracy:.1f}" height="{HEIGHT - 10}" '
        f'fill="{COLOUR}" fill-opacity="0.6"/>{whisker}'
        f'<line x1="{WIDTH * chance:.1f}" y1="0" x2="{WIDTH * chance:.1f}" y2="{HEIGHT}" '
        f'stroke="currentColor" stroke-dasharray="3 2"/></svg>'
    )
