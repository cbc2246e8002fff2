"""``README.md`` of an adapter folder: what was trained, on what, what changed, how to load it."""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from brodmann.neurons.provenance import Provenance, describe
from brodmann.storage import plain

CARD = "README.md"
_TEMPLATE = "card.md.j2"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# What could begin or end something in Markdown: marks inside a word and lone brackets cannot.
_SPECIAL = re.compile(r"([\\`*|~$]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|^[#>+-])")


@dataclass(frozen=True, kw_only=True)
class AdapterFacts:
    """What a card tells. Every text may come from a file or the hub: the card escapes it.

    Attributes:
        base: the model, as it was asked for.
        fingerprint: of the model.
        counts: trained neurons of each layer, from the bottom up.
        n_neurons: neurons of the whole model.
        parameters: numbers that were trained.
        total_parameters: of the whole model.
        located: provenance of each set of neurons.
        data: specs of the training data.
        settings: of the training, such as ``{"lr": 1e-5, "epochs": 5}``.
        evaluations: one for each set of examples: ``data``, and ``before`` and ``after`` with
            ``accuracy``, ``interval`` and ``n``, as ``Evaluation.to_dict()`` gives them.
        quantisation: what the model's weights were rounded to.
        licence: of the base model, where it is known.
    """

    base: str
    fingerprint: str
    counts: Sequence[int]
    n_neurons: int
    parameters: int
    total_parameters: int
    located: Sequence[Provenance]
    data: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluations: Sequence[Mapping[str, Any]] = ()
    quantisation: str | None = None
    licence: str | None = None


def write_card(folder: Path | str, facts: AdapterFacts) -> Path:
    """Write ``README.md`` into the folder of an adapter, in place of the one that PEFT left there.

    Args:
        folder: the adapter's, which exists.
        facts: what to tell.

    Returns:
        The file.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["text"] = _text
    source = files("brodmann.tuning").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    page = environment.from_string(source).render(
        facts=facts,
        front_matter=Markup(_front_matter(facts)),
        layers=[(layer, count) for layer, count in enumerate(facts.counts) if count],
        located=[line for one in facts.located for line in _located(one)],
        evaluations=[_evaluation(row) for row in facts.evaluations],
        settings=[(name, json.dumps(plain(value))) for name, value in facts.settings.items()],
    )
    path = Path(folder) / CARD
    path.write_text(page, encoding="utf-8")
    return path


def _text(value: object) -> Markup:
    """Escape a text for Markdown and the HTML in it, so that what others wrote does nothing."""
    one_line = " ".join(str(value).split())
    return Markup(_SPECIAL.sub(r"\\\1", html.escape(one_line, quote=False)))


def _front_matter(facts: AdapterFacts) -> str:
    """YAML, of which JSON is a part: quoted text cannot end it."""
    lines: dict[str, Any] = {"library_name": "peft", "tags": ["brodmann", "neuron-tuning"]}
    if _HUB_ID.fullmatch(facts.base) and not Path(facts.base).exists():
        lines["base_model"] = facts.base
    if facts.licence is not None:
        lines["license"] = facts.licence.lower()
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in lines.items())


def _located(provenance: Provenance) -> Iterator[str]:
    """One line for each set that something was made of, however sets were combined."""
    parts = provenance.get("parts")
    if not parts:
        yield describe(provenance) or "not known"
        return
    if provenance.get("operation") != "|":
        yield f"combined by '{provenance.get('operation')}' of:"
    for part in parts:
        yield from _located(part)


def _evaluation(row: Mapping[str, Any]) -> list[str]:
    after = row["after"]
    before = row.get("before")
    return [str(row["data"]), f"{after['n']:,}", _accuracy(before), _accuracy(after)]


def _accuracy(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not measured"
    low, high = found["interval"]
    return f"{found['accuracy']:.1%} ({low:.1%} to {high:.1%})"
