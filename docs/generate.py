"""Write the pages that the program or saved rows decide: command line, architectures, verdicts.

``python docs/generate.py`` writes them; ``--check`` only compares and fails when one is stale.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from brodmann.cli.main import app
from brodmann.experiments.catalogue import paper_order
from brodmann.models.architectures import ARCHITECTURES, Architecture

HERE = Path(__file__).parent
VERDICTS = ("supported", "not supported", "undecided at this size")
NOTICE = "<!-- Written by docs/generate.py; change the program, not this page. -->\n"


def cli_page() -> str:
    """The reference of every verb, in the order of ``brodmann --help``."""
    group = typer.main.get_group(app)
    lines = [NOTICE, "# Command line", "", group.help or "", ""]
    lines += ["`--debug` goes anywhere and shows the traceback of an error.", ""]
    for name, command in group.commands.items():
        lines += [f"## brodmann {name}", "", *_paragraphs(command.help or ""), ""]
        lines += ["| argument or option | default | what it is |", "|---|---|---|"]
        lines += [_parameter_row(parameter) for parameter in command.params]
        lines += [""]
    return "\n".join(lines)


def architectures_page() -> str:
    """Where the neurons are in each family, one table row per architecture row."""
    lines = [NOTICE, "# Architectures", ""]
    lines += [
        "One row per naming pattern. A family that is not here is opened when a row's names exist "
        "in it and the self-check agrees; otherwise it is refused.",
        "",
        "| row | families | layers | MLP | into the neurons | out of them | beside |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_architecture_row(row) for row in ARCHITECTURES]
    return "\n".join([*lines, ""])


def verdicts_page() -> str:
    """Every claim of the study, by experiment and model, as the committed rows have it."""
    lines = [NOTICE, "# Verdicts of the study", ""]
    lines += ["What is behind them: [the study](study.md). Counts are of claims.", ""]
    lines += [
        "| result | supported | not supported | undecided at this size |",
        "|---|---|---|---|",
    ]
    results = [(path.parent, _json(path)) for path in (HERE / "study").rglob("run.json")]
    results.sort(key=lambda one: (paper_order(one[1]["experiment"]), one[0].parts))
    details: list[str] = []
    for folder, run in results:
        verdict = _json(folder / "results.json")["verdict"]
        name = "/".join(folder.relative_to(HERE / "study").parts)
        title = f"{run['title']} ({name})"
        counts = [str(sum(row["verdict"] == one for row in verdict)) for one in VERDICTS]
        lines += [f"| {name}: {run['title']} | {' | '.join(counts)} |"]
        details += [f"## {title}", ""]
        for row in verdict:
            claim = row["statement"].rstrip(".")
            details += [f"- **{row['verdict']}**. Claim: {claim}. Found: {row['because']}"]
        details += [""]
    return _plain_math("\n".join([*lines, "", *details]))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _plain_math(text: str) -> str:
    """Keep operators and bars from being read as Markdown."""
    for letter in "*_$":
        text = text.replace(f" {letter} ", f" \\{letter} ")
    return text


def _paragraphs(help_text: str) -> list[str]:
    return [line.strip() for line in help_text.strip().splitlines()]


def _parameter_row(parameter: object) -> str:
    names = getattr(parameter, "opts", [])
    if getattr(parameter, "param_type_name", "") == "argument":
        label = f"`{parameter.metavar or parameter.name}`"  # pyrefly: ignore
    else:
        label = ", ".join(f"`{name}`" for name in names)
    default = getattr(parameter, "default", None)
    if getattr(parameter, "required", False):
        shown = "required"
    elif default is None or default is False or callable(default):
        shown = ""
    else:
        shown = f"`{default}`"
    return f"| {label} | {shown} | {getattr(parameter, 'help', '') or ''} |".replace("\n", " ")


def _architecture_row(row: Architecture) -> str:
    inward = row.gate_up or " ".join(name for name in (row.gate, row.up) if name)
    cells = [
        row.name,
        ", ".join(row.families),
        _code(row.layers),
        _code(row.mlp) if row.mlp else "on the layer",
        _code(inward),
        _code(row.down),
        "; ".join(_exceptions(row)),
    ]
    return f"| {' | '.join(cells)} |"


def _exceptions(row: Architecture) -> Iterator[str]:
    if row.experts:
        yield f"experts in {_code(row.experts)}"
    if row.post_norm:
        yield f"the MLP output is normalised by {_code(row.post_norm)}"
    if row.residual_multiplier:
        yield f"the MLP output is multiplied by {_code(row.residual_multiplier)}"
    for key, name in (
        (row.logit_scale, "logit scale"),
        (row.logit_divisor, "logit divisor"),
        (row.soft_cap, "logit soft-cap"),
    ):
        if key:
            yield f"{name} {_code(key)}"


def _code(name: str) -> str:
    return f"`{name}`"


def main() -> int:
    """Write or check all pages; return the exit code."""
    pages = {"cli.md": cli_page(), "architectures.md": architectures_page()}
    pages["verdicts.md"] = verdicts_page()
    stale = [name for name, text in pages.items() if _read(HERE / name) != text]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"error: docs/{name} is stale; write: python docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (HERE / name).write_text(pages[name], encoding="utf-8")
    return 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
