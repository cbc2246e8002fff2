"""Print what an adapter changed, beside the base model."""

from collections.abc import Mapping, Sequence
from typing import Any


def print_transfer(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of ``transfer_rows`` as a table."""
    from brodmann.cli.output import print_table

    if not rows:
        return
    print_table(
        [
            {
                "data": row["data"],
                "measures": row["measures"],
                "chance": row["chance"],
                "n": row["n"],
                "base": row["base"],
                "tuned": row["tuned"],
                "95% interval": (row["tuned_low"], row["tuned_high"]),
                "change": row["change"],
                "its 95% interval": (row["change_low"], row["change_high"]),
                "p (Holm)": row["p_holm"],
                "margin, nats": row["margin_change"],
            }
            for row in rows
        ],
        title="Accuracy before and after",
    )
