"""What erasing sets does to neutral text, beside random sets: cells, and a sentence."""

from collections.abc import Sequence

from brodmann.evaluate import random_sets
from brodmann.experiments.cells import Cell, Row, cell
from brodmann.experiments.erasing import perplexity_ratio
from brodmann.experiments.workbench import Workbench
from brodmann.neurons import NeuronSet

NEUTRAL = "Neutral text"


def neutral_cells(
    bench: Workbench, block: str, name: str, neurons: NeuronSet, draws: int, seed: int
) -> list[Row]:
    """What erasing does to the reading of neutral text: KL to the model as it is, nats.

    Args:
        bench: the model.
        block: where the cells stand, behind :data:`NEUTRAL`.
        name: their column.
        neurons: what is erased.
        draws: random sets beside it.
        seed: of these.
    """
    if not len(neurons):
        return []
    located = bench.neutral(neurons)
    drawn = [bench.neutral(one) for one in random_sets(neurons, draws, seed=seed)]
    place, about = f"{NEUTRAL}, {block}", {"unit": "nats", "extra": True, "neurons": len(neurons)}
    cells = [
        cell(
            place,
            "Located",
            name,
            located["kl"],
            perplexity_ratio=perplexity_ratio(located),
            **about,
        )
    ]
    if drawn:
        kls = [one["kl"] for one in drawn]
        is_finite = None not in kls
        cells.append(cell(place, "Random", name, sum(kls) / len(kls) if is_finite else None,
                          worst=max(kls) if is_finite else None, draws=len(drawn),
                          **about))  # fmt: skip
    return cells


def told_of_neutral(cells: Sequence[Cell]) -> str:
    """Say in a sentence how much neutral text suffers, at most and at least."""
    located = [one for one in cells if one["block"].startswith(NEUTRAL) and one["row"] == "Located"]
    random = [one for one in cells if one["block"].startswith(NEUTRAL) and one["row"] == "Random"]
    if not located or not random:
        return "Neutral text was not measured."
    if None in [one["value"] for one in (*located, *random)]:
        return "Neutral text suffers beyond measure: some KL is infinite."
    most, least = (pick(one["value"] for one in located) for pick in (max, min))
    return (
        f"Neutral text suffers, too: KL {least:.2f} to {most:.2f} nats by located sets, at most "
        f"{max(one['worst'] for one in random):.2f} by a random one."
    )
