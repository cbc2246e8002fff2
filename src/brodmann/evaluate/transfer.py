"""What tuning changed: a model's answers before and after, on what it learnt and on what not."""

from collections.abc import Mapping
from typing import Any

from brodmann.evaluate.evaluation import Evaluation
from brodmann.evaluate.statistics import holm


def transfer_rows(
    before: Mapping[str, Evaluation],
    after: Mapping[str, Evaluation],
    fit: str | None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Set the base model's and the tuned model's answers beside each other (dcsn.txt, Table 6).

    Args:
        before: data spec -> how the base model answers it.
        after: the same of the tuned model, on the same examples.
        fit: the spec that the model was tuned on; on the others it has to generalise. None where
            that is not known.
        seed: of the bootstraps.

    Returns:
        A row for each spec: ``data``, ``measures`` ("fit" or "generalisation"), ``n``,
        ``base`` and ``tuned`` (accuracies) with the ends of their intervals, ``change`` with
        those of its paired interval, its ``p`` and ``p_holm`` (over the specs), and
        ``margin_change`` in nats.
    """
    rows = []
    for spec, old in before.items():
        new = after[spec]
        change, margin = new.change_from(old, seed=seed), new.change_from(old, "margin", seed=seed)
        row: dict[str, Any] = {
            "data": spec,
            "measures": _measures(spec, fit),
            "n": new.n,
            "chance": new.chance,
            "p": change.p,
        }
        for name, value, interval in (
            ("base", old.accuracy, old.interval),
            ("tuned", new.accuracy, new.interval),
            ("change", change.mean, change.interval),
            ("margin_change", margin.mean, margin.interval),
        ):
            row |= {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
        rows.append(row)
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    return rows


def _measures(spec: str, fit: str | None) -> str | None:
    if fit is None:
        return None
    return "fit" if spec == fit else "generalisation"
