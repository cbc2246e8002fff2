"""The tables of a map, as text cells: for terminals (rich) and for Markdown."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from brodmann.report.results import RULES, Results, Row

_COMPARISONS = {
    "separability": "Separability: pairs of capabilities, all samples of each",
    "answers": "The same capability, answers free and matched across operators",
    "view": "The same capability, asked in two ways",
}


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        title: what it shows.
        columns: names of columns, with units.
        rows: the cells.
        note: how to read it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def all_tables(results: Results) -> list[TextTable]:
    """Return the tables in the order they are read."""
    tables = [base_table(results), sets_table(results)]
    for variant in results.erased_variants:
        tables += [erasure_table(results, variant, measure) for measure in ("accuracy", "margin")]
    tables += [controls_table(results), collateral_table(results), verdict_table(results)]
    return [table for table in tables if table.rows]


def long_tables(results: Results) -> list[TextTable]:
    """Return the tables that are too long for a terminal."""
    tables = [comparison_table(results, kind) for kind in _COMPARISONS]
    return [table for table in tables if table.rows]


def base_table(results: Results) -> TextTable:
    """The model as it is."""
    rows = [
        [
            str(row["capability"]),
            items(row["n"], row["independent"]),
            between(row["accuracy"], row["low"], row["high"]),
            number(max(row["chance"], row["majority"])),
            between(row["margin"], row["margin_low"], row["margin_high"], signed=True),
            percent(row["format_rate"]),
        ]
        for row in results.tables["base"]
    ]
    columns = ["capability", "items (independent)", "accuracy", "best guess"]
    return TextTable(
        "The model as it is",
        [*columns, "margin, nats", "parses"],
        rows,
        "Best guess: chance, or always giving the commonest answer. Margin: log-probability of "
        "the right answer minus that of the best wrong one. 95% intervals.",
    )


def sets_table(results: Results) -> TextTable:
    """Sizes, shares, cohesion and separability."""
    rows = []
    for one in results.tables["sets"]:
        which = {"variant": one["variant"], "rule": one["rule"]}
        cohesion = results.row("similarity", kind="cohesion", a=one["capability"], **which)
        specific = results.row("specificity", set=one["set"]) or {}
        rows.append(
            [
                str(one["capability"]),
                RULES.get(one["rule"], one["rule"]),
                str(one["variant"]),
                f"{one['neurons']:,}",
                percent(one["share_of_neurons"]),
                percent(one["share_of_parameters"]),
                between(cohesion["value"], cohesion["low"], cohesion["high"]) if cohesion else "–",
                between(
                    specific.get("across"), specific.get("across_low"), specific.get("across_high")
                ),
                number(cohesion["chance_layer_matched"], 3) if cohesion else "–",
            ]
        )
    columns = ["capability", "set", "answers", "neurons", "% neurons", "% parameters"]
    return TextTable(
        "Located sets",
        [*columns, "cohesion", "shared with others", "chance"],
        rows,
        "|A∩B| / max(|A|,|B|). Cohesion: two samples of one capability, disjoint unless Data "
        "says otherwise (high is good). "
        "Shared with others: different capabilities at the same sample size (low is good). "
        "Chance: random sets with as many neurons in each layer.",
    )


def comparison_table(results: Results, kind: str) -> TextTable:
    """One kind of comparison between sets, pair by pair."""
    rows = []
    for row in results.rows("similarity", kind=kind):
        pair = [row["a"], row["b"]] if row["a"] != row["b"] else [row["a"]]
        variants = dict.fromkeys((row["variant"], row["other_variant"]))
        rows.append(
            [
                " and ".join(str(name) for name in pair),
                RULES.get(row["rule"], row["rule"]),
                " and ".join(variants),
                f"{row['size_a']}, {row['size_b']}",
                f"{row['shared']}",
                between(row["value"], row["low"], row["high"]),
                number(row["chance"], 3),
                number(row["chance_layer_matched"], 3),
            ]
        )
    columns = ["capability", "set", "located on", "neurons", "shared", "|A∩B| / max(|A|,|B|)"]
    return TextTable(_COMPARISONS[kind], [*columns, "chance", "layer-matched"], rows)


def erasure_table(results: Results, variant: str, measure: str) -> TextTable:
    """Erased set × tested capability, with the random sets' effect on the set's own capability."""
    effect = f"d_{measure}"
    rows = []
    for name, rule, own in erased_sets(results, variant):
        cells = [str(own), RULES.get(rule, rule)]
        for tested in results.capabilities:
            row = results.row("erasure", set=name, tested=tested)
            cells.append(effect_cell(row, effect) if row else "–")
        rows.append([*cells, random_cell(results.row("erasure", set=name, own=True), effect)])
    unit = "accuracy" if measure == "accuracy" else "margin in nats"
    return TextTable(
        f"Erasing a set: change of {unit}"
        + ("" if variant == "free" else f" (sets located with {variant} answers)"),
        ["erased", "set", *(f"on {name}" for name in results.capabilities), "random, on its own"],
        rows,
        "Paired bootstrap 95% intervals. Random: mean (worst) over layer-matched sets of the same "
        "size.",
    )


def controls_table(results: Results) -> TextTable:
    """Where each set's effect on its own capability stands among random sets."""
    rows = []
    for row in results.rows("erasure", own=True):
        for kind, words in (("random", "per layer"), ("norm", "per layer and activation")):
            draws = row.get(f"{kind}_draws")
            if draws:
                cells = [f"{row['capability']}", RULES.get(row["rule"], row["rule"])]
                cells += [str(row["variant"]), words]
                for effect in ("d_accuracy", "d_margin"):
                    cells.append(standing(row, f"{kind}_{effect}", draws))
                rows.append(cells)
    return TextTable(
        "Against random sets of the same size",
        ["erased", "set", "answers", "matched", "fall of accuracy", "fall of margin"],
        rows,
        "Rank 1: larger than that of every random set. A p (Holm over the capabilities) is given "
        "from 99 draws on.",
    )


def collateral_table(results: Results) -> TextTable:
    """Damage to neutral text, of located and random sets."""
    rows = []
    for row in results.rows("collateral", kind="located"):
        drawn = [r for r in results.rows("collateral", set=row["set"]) if r["kind"] == "layer"]
        ratios = [r["perplexity_ratio"] for r in drawn if r["perplexity_ratio"] is not None]
        rows.append(
            [
                str(row["capability"]),
                RULES.get(row["rule"], row["rule"]),
                str(row["variant"]),
                number(row["perplexity_before"], 1),
                number(row["perplexity_after"], 1),
                times(row["perplexity_ratio"]),
                times(max(ratios)) if ratios else "–",
                number(row["kl"], 3),
                number(max((r["kl"] for r in drawn if r["kl"] is not None), default=None), 3)
                if drawn
                else "–",
            ]
        )
    columns = ["erased", "set", "answers", "perplexity", "erased", "ratio", "worst random"]
    return TextTable("Neutral text", [*columns, "KL, nats", "worst random KL"], rows)


def verdict_table(results: Results) -> TextTable:
    """Which claims the numbers support, for each set."""
    words = {"supported": "yes", "not supported": "no"}
    claims = list(dict.fromkeys(row["claim"] for row in results.tables["verdict"]))
    rows = []
    for one in results.tables["sets"]:
        cells = [str(one["capability"]), RULES.get(one["rule"], one["rule"]), str(one["variant"])]
        for claim in claims:
            row = results.row("verdict", set=one["set"], claim=claim)
            cells.append(words.get(row["verdict"], "undecided") if row else "–")
        rows.append(cells)
    return TextTable(
        "Verdict",
        ["capability", "set", "answers", *(claim.replace("_", "-") for claim in claims)],
        rows,
        "Undecided: the interval holds both answers, at this number of samples.",
    )


def erased_sets(results: Results, variant: str) -> list[tuple[str, str, str]]:
    """Return (name, rule, capability) of the sets of a variant that were erased."""
    rows = results.rows("erasure", variant=variant)
    return list(dict.fromkeys((row["set"], row["rule"], row["capability"]) for row in rows))


def effect_cell(row: Row, effect: str) -> str:
    """Write an effect with its interval."""
    return between(row[effect], row[f"{effect}_low"], row[f"{effect}_high"], signed=True)


def random_cell(row: Row | None, effect: str) -> str:
    """Write the mean and the worst effect of the random sets."""
    if row is None or not row.get("random_draws"):
        return "–"
    mean, worst = row[f"random_{effect}"], row[f"random_{effect}_worst"]
    return f"{number(mean, signed=True)} ({number(worst, signed=True)}, n={row['random_draws']})"


def standing(row: Row, name: str, draws: int) -> str:
    """Write the rank among random draws, and p where it is claimed."""
    told = f"rank {row[f'{name}_rank']} of {draws + 1}"
    p = row.get(f"{name}_p_holm")
    return told if p is None else f"{told}, p = {p:.3f}"


def number(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    """Write a number; a dash for nothing, and never a negative zero."""
    if value is None or math.isnan(value):
        return "–"
    rounded = round(value, digits) + 0.0
    return (f"{rounded:+.{digits}f}" if signed and rounded else f"{rounded:.{digits}f}").replace(
        "-", "−"
    )


def between(
    value: float | None,
    low: float | None,
    high: float | None,
    digits: int = 2,
    *,
    signed: bool = False,
) -> str:
    """Write an estimate with its interval."""
    if value is None:
        return "–"
    told = number(value, digits, signed=signed)
    if low is None or high is None:
        return told
    around = ", ".join(number(end, digits, signed=signed) for end in (low, high))
    return f"{told} [{around}]"


def percent(share: float) -> str:
    """Write a share with three significant digits."""
    return f"{100 * share:.3g}%"


def times(ratio: float | None) -> str:
    """Write a factor."""
    return "–" if ratio is None else f"×{ratio:.2f}"


def items(n: int, independent: int) -> str:
    """Write a number of items, and of independent ones where that differs."""
    return f"{n}" if n == independent else f"{n} ({independent})"
