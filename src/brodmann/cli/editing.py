"""The work behind `brodmann edit`: facts, covariance, edits, scores, folder."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brodmann.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from brodmann.data import Fact
    from brodmann.interventions.key_covariance import KeyCovariance
    from brodmann.interventions.rome import RomeEdit
    from brodmann.models import LanguageModel

SCORES = "scores.json"
MEASURES = ("efficacy", "paraphrase", "neighbourhood")
_SUFFIXES = {"share right": "", "greedy": "_greedy", "margin, nats": "_margin"}


@dataclass(frozen=True)
class EditRequest:
    """What was asked on the command line."""

    model: str
    device: str | None
    dtype: str | None
    facts: str
    fact: str | None
    target: str | None
    limit: int | None
    layer: int
    corpus: str | None
    max_tokens: int | None
    covariance: Path | None
    steps: int
    seed: int
    out: Path
    resume: bool
    overwrite: bool
    as_json: bool

    def settings(self) -> dict[str, Any]:
        """What a record keeps, in JSON types."""
        names = ("facts", "fact", "target", "limit", "layer", "corpus", "max_tokens", "steps")
        kept = {name: getattr(self, name) for name in names}
        return kept | {"seed": self.seed, "covariance": self.covariance and str(self.covariance)}


def run(request: EditRequest) -> None:
    """Edit, score, write the folder and print.

    Raises:
        InputError: options that do not go together, a fact without a new answer; see the
            library's functions for the rest.
    """
    from brodmann.cli.opening import open_model
    from brodmann.cli.run_record import RunRecord
    from brodmann.cli.unfinished import unfinished
    from brodmann.evaluate import known_facts
    from brodmann.storage import check_new_folder, new_folder, write_rows

    if request.covariance and (request.corpus or request.max_tokens):
        raise InputError(
            "Expected --covariance, or --corpus and --max-tokens to make it; got both. Leave one "
            "out."
        )
    check_new_folder(request.out, request.overwrite)
    record = RunRecord("edit", **request.settings())
    facts = _facts(request)
    opened = open_model(request.model, request.device, request.dtype)
    _check_targets(opened, facts)
    covariance = _covariance(request, opened)
    known = {row["fact"]: row["known"] for row in known_facts(opened, facts).rows}
    work = _work(request, opened, facts, covariance)
    with unfinished(request.out, work, request.resume, request.overwrite) as place:
        edited = _edited(request, opened, facts, covariance, place)
        rows = [row | {"known": known[row["fact"]]} for _, row in edited]
        summary = _summary(rows)
        with new_folder(request.out, request.overwrite) as folder:
            _write(folder, opened, [edit for edit, _ in edited])
            write_rows(folder / "scores.parquet", rows)
            record.write(
                folder, opened, scores=summary, facts=len(rows), known=sum(known.values()),
                covariance={**covariance.provenance, "n_tokens": covariance.n_tokens},
            )  # fmt: skip
    _print(request, rows, summary)


def _work(
    request: EditRequest,
    model: "LanguageModel",
    facts: "list[Fact]",
    covariance: "KeyCovariance",
) -> dict[str, Any]:
    """What decides the edits and their scores: an unfinished run of other work is refused."""
    moment = covariance.moment.cpu().contiguous().numpy().tobytes()
    return {
        "fingerprint": model.fingerprint, "dtype": str(model.dtype), "layer": request.layer,
        "steps": request.steps, "seed": request.seed, "covariance": covariance.provenance,
        "n_tokens": covariance.n_tokens, "moment": hashlib.sha256(moment).hexdigest(),
        "facts": [dataclasses.asdict(fact) for fact in facts],
    }  # fmt: skip


def _write(folder: Path, model: "LanguageModel", edits: "list[RomeEdit]") -> None:
    """One edit stands in a checkpoint that has it; several each in a folder of their own."""
    from brodmann.interventions.edited_facts import bake_edit

    if len(edits) == 1:
        bake_edit(model, edits[0], folder)
        edits[0].save(folder)
        return
    for number, edit in enumerate(edits, start=1):
        place = folder / "edits" / f"{number:04d}"
        place.mkdir(parents=True)
        edit.save(place)


def _facts(request: EditRequest) -> "list[Fact]":
    """The facts to edit, each with its new answer."""
    from brodmann.data import load_facts

    limit = None if request.fact else request.limit
    facts = load_facts(request.facts, limit=limit, seed=request.seed)
    if request.fact is not None:
        names = [fact.id for fact in facts]
        if request.fact not in names:
            raise UnknownNameError("fact", request.fact, names[:20])
        facts = [facts[names.index(request.fact)]]
    if request.target is not None:
        if len(facts) > 1:
            raise InputError(
                f"Expected --target with one fact; {request.facts} has {len(facts)}. Name one "
                "with --fact, or write target_new into the rows."
            )
        facts = [dataclasses.replace(facts[0], target_new=request.target)]
    for fact in facts:
        if fact.target_new is None:
            raise InputError(
                f"Expected target_new in fact '{fact.id}' to edit it; it has none. Write the new "
                "answer into its row, or --fact and --target."
            )
    return facts


def _check_targets(model: "LanguageModel", facts: "list[Fact]") -> None:
    """Refuse a target that cannot be told from its prompt before the first edit is made."""
    from brodmann.models.tokens import tokenise_answers

    tokenise_answers(model, [(fact.prompt, fact.delimiter, str(fact.target_new)) for fact in facts])


def _covariance(request: EditRequest, model: "LanguageModel") -> "KeyCovariance":
    from brodmann.cli.output import note
    from brodmann.data.texts import load_texts
    from brodmann.evaluate import neutral_texts
    from brodmann.interventions.key_covariance import (
        MAX_TOKENS,
        KeyCovariance,
        check_layers,
        key_covariances,
    )

    check_layers(model, [request.layer])
    if request.covariance is not None:
        found = KeyCovariance.load(request.covariance)
        found.check_belongs(model, request.layer)
        return found
    texts = neutral_texts() if request.corpus is None else load_texts(request.corpus)
    most = MAX_TOKENS if request.max_tokens is None else request.max_tokens
    found = key_covariances(model, texts, [request.layer], max_tokens=most)[request.layer]
    if request.corpus is None:
        note(
            f"warning: the key covariance is of {found.n_tokens:,} tokens, the bundled neutral "
            f"text, for {model.sites[request.layer].n_neurons:,} neurons. Give more text with "
            "--corpus."
        )
    return found


def _edited(
    request: EditRequest,
    model: "LanguageModel",
    facts: "list[Fact]",
    covariance: "KeyCovariance",
    place: Path,
) -> "list[tuple[RomeEdit, dict[str, Any]]]":
    """Each fact's edit, from the clean model, with its scores; those that are kept are read."""
    from brodmann.evaluate.editing import edit_scores
    from brodmann.interventions.rome import RomeEdit, rome_edits
    from brodmann.progress import progress
    from brodmann.storage import new_folder, read_json, write_json

    kept = [place / f"{number:04d}" for number in range(1, len(facts) + 1)]
    left = [(folder, fact) for folder, fact in zip(kept, facts, strict=True) if not folder.exists()]
    edits = rome_edits(
        model, [fact for _, fact in left], request.layer, covariance, seed=request.seed,
        steps=request.steps,
    )  # fmt: skip
    done = len(facts) - len(left)
    for folder, fact in progress(left, len(facts), "Editing", done=done):
        edit = next(edits)
        row = edit_scores(model, fact, str(fact.target_new), edit)
        with new_folder(folder) as new:
            edit.save(new)
            write_json(new / SCORES, row)
    return [(RomeEdit.load(folder), read_json(folder / SCORES)) for folder in kept]


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each measure, its mean over facts before and after, with an interval of the latter."""
    from brodmann.evaluate import bootstrap_interval

    found = []
    for measure in MEASURES:
        for words, suffix in _SUFFIXES.items():
            name = f"{measure}{suffix}"
            pairs = [(row[f"{name}_before"], row[name]) for row in rows if row[name] is not None]
            before, after = ([pair[side] for pair in pairs] for side in (0, 1))
            several = len(pairs) > 1
            found.append({
                "measure": measure, "of": words, "facts": len(pairs),
                "before": sum(before) / len(before) if pairs else None,
                "after": sum(after) / len(after) if pairs else None,
                "95% interval": list(bootstrap_interval(after)) if several else None,
            })  # fmt: skip
    return found


def _print(request: EditRequest, rows: list[dict[str, Any]], summary: list[dict[str, Any]]) -> None:
    from brodmann.cli.output import note, print_json, print_table, print_text

    known = sum(row["known"] for row in rows)
    if request.as_json:
        out = {"out": request.out, "layer": request.layer, "facts": len(rows), "known": known}
        print_json(out | {"checkpoint": len(rows) == 1, "scores": summary, "rows": rows})
        return
    print_table(summary, title=f"{len(rows)} facts edited in layer {request.layer}")
    print_text(f"The model knew {known} of {len(rows)} before: the answer, token by token.")
    print_text(
        f"An ordinary checkpoint with the edit is in {request.out}"
        if len(rows) == 1
        else "Each edit was made on the clean model; --fact ID writes a checkpoint of one."
    )
    note(f"wrote {request.out}")
