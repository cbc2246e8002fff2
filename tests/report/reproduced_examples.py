"""Results of reproduced experiments, written by hand: one for each kind of picture."""

import itertools

from brodmann.storage import write_json

HOSTILE = "evil|<b>*x* [red]$y^ 50%_#&{}\\"


def cell(block, row, column, value, half=0.05, unit="accuracy", **more):
    around = {"low": None, "high": None}
    if value is not None and half is not None:
        around = {"low": round(value - half, 6), "high": round(value + half, 6)}
    place = {"block": block, "row": row, "column": column}
    return place | {"value": value, "unit": unit, "n": 120} | around | more


def claim(name="raises", verdict="supported", because="Avg. rises by 0.19 [0.10, 0.28]."):
    return {
        "claim": name,
        "statement": "Tuning located neurons raises accuracy more than random ones.",
        "verdict": verdict,
        "because": because,
    }


def save(folder, experiment, cells, *, verdict=None, tables=None, **run):
    folder.mkdir(parents=True)
    about = {
        "experiment": experiment,
        "title": f"What {experiment} shows",
        "paper": experiment.partition("-")[0],
        "place": experiment.partition("-")[2].replace("-", " ").capitalize(),
        "preset": "cpu",
        "model": "smollm2-135m",
        "fingerprint": "0123abcd",
        "quantisation": "Q8_0",
        "config": {"sigma": 6, "seeds": [0, 1], "train": {"steps": 30}},
        "environment": {"versions": {"python": "3.11.9", "torch": "2.13.0"}, "platform": "Linux"},
        "command": ["brodmann", "reproduce", experiment, "--model", "smollm2-135m"],
        "wall_seconds": 12.4,
    }
    write_json(folder / "run.json", about | run)
    rows = {"cells": cells, "verdict": [claim()] if verdict is None else verdict}
    write_json(folder / "results.json", rows | (tables or {}))
    return folder


OPERATORS = ("+", "-", "*", "/", "Avg.")


def table_2(folder, **run):
    """Enhancement with a control row, a row that was not measured, and p-values; erasure."""
    rows = {"Original": 0.41, "FT-Random": 0.44, "FT-Cap": 0.6}
    cells = [
        cell("Enhancement", row, column, round(value + 0.03 * index, 4), p_holm=0.012)
        for row, value in rows.items()
        for index, column in enumerate(OPERATORS)
    ]
    cells += [
        cell("Enhancement", "FT-Cap − FT-Random", column, 0.16, unit="change", extra=True, p=0.004)
        for column in OPERATORS
    ]
    cells += [
        cell("Erasure", row, column, value)
        for row, value in {"Original": 0.41, "Deactivate-Cap": 0.003}.items()
        for column in OPERATORS
    ]
    cells += [cell("Erasure", "Layer-matched, worst of 20", c, 0.31, extra=True) for c in OPERATORS]
    return save(folder, "dcsn-table-2", cells, **run)


def hostile(folder):
    """A table that no paper has; every name is an attack on some format."""
    cells = [
        cell(block, row, column, 0.5, unit="share", note=HOSTILE)
        for block in ("A & B|<i>", "A & B|{i}", HOSTILE)
        for row in (HOSTILE, "[x]", "*")
        for column in (HOSTILE, "+")
    ]
    verdict = [claim(HOSTILE, because=f"because of {HOSTILE}")]
    return save(
        folder, "own_table_1", cells, verdict=verdict, model=HOSTILE, title=HOSTILE, place=HOSTILE,
        command="brodmann ``` reproduce", config={"data": HOSTILE},
    )  # fmt: skip


def bars(folder):
    cells = [
        cell("1-OP", f"1-OP ({row})", column, 1.2 if row == column else 0.5, 0.1, "activation")
        for row, column in itertools.product("+-*/", "+-*/")
    ]
    cells += [cell("1-OP", f"1-OP ({row})", "random", 0.2, 0.02, "activation", extra=True)
              for row in "+-*/"]  # fmt: skip
    return save(folder, "dcsn-figure-2", cells)


def matrix(folder):
    fall = {("+", "+"): -0.41, ("+", "-"): -0.2, ("-", "-"): -0.3, ("*", "/"): None}
    cells = [
        cell("Erase", f"1-OP ({row})", column, fall.get((row, column), -0.01), 0.03, "change")
        for row, column in itertools.product("+-*/", "+-*/")
    ]
    return save(folder, "dcsn-table-5", cells)


def curves(folder):
    sizes = ("64", "128", "256", "512")
    cells = [
        cell("Llama", data, size, 0.5 + 0.1 * index + shift, 0.04, "share")
        for data, shift in (("GSM8K", 0.0), ("Emotion", 0.08))
        for index, size in enumerate(sizes)
    ]
    cells += [cell("Llama", "chance", size, 0.01, None, "share", extra=True) for size in sizes]
    return save(folder, "cnl-figure-6", cells)


def sweep(folder):
    cells = [
        cell("Forward", row, column, value - 0.04 * index, 0.03, "share")
        for row, value in (("DG", 0.8), ("MQ", 0.6))
        for index, column in enumerate(("2-OP", "3-OP", "4-OP", "5-OP"))
    ]
    cells += [cell("Forward", "DG", "Avg.", 0.75, unit="share")]
    cells += [cell("Reverse", "Original", c, 0.3) for c in ("2-OP", "3-OP", "4-OP", "5-OP")]
    return save(folder, "dcsn-table-4", cells)


def neuron_map(folder):
    rows = [
        {"data": data, "layer": layer, "neuron": 37 * layer + 100 * shift, "value": -0.5 - layer}
        for shift, data in enumerate(("GSM8K", "Emotion", "Code25K"))
        for layer in range(8)
    ]
    return save(folder, "cnl-figure-4", [], tables={"neurons": rows}, config={"neighbours": 60})


def edits(folder):
    """Two layers that were edited, and one between them that five facts are traced to."""
    cells = [
        cell(block, row, layer, 0.9 - 0.1 * int(layer), 0.05, unit, extra=block != "Success")
        for block, unit in (("Success", "share"), ("Margins", "nats"))
        for row in ("efficacy", "paraphrase", "neighbourhood")
        for layer in ("0", "2")
    ]
    cells += [cell("Effect of tracing", "MLP", layer, 0.2, 0.1, "probability", extra=True)
              for layer in ("0", "2")]  # fmt: skip
    cells += [
        cell("Effect of tracing", "facts traced to it", layer, n, None, "examples", extra=True)
        for layer, n in (("0", 0), ("1", 57), ("2", 1))
    ]
    return save(folder, "cnl-figure-2", cells)


KINDS = {
    "dots": table_2,
    "hostile": hostile,
    "bars": bars,
    "matrix": matrix,
    "curves": curves,
    "sweep": sweep,
    "map": neuron_map,
    "edits": edits,
}
