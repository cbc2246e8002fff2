"""The work behind `brodmann evaluate --adapter`: the base model and the adapted one, together."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brodmann.evaluate import Evaluation
    from brodmann.models import LanguageModel
    from brodmann.neurons import NeuronSet


def evaluate_adapter(
    model: "LanguageModel",
    adapter: Path,
    specs: Sequence[str],
    *,
    split: str,
    limit: int | None,
    seed: int,
    neurons: "NeuronSet | None",
    how: Mapping[str, Any],
    force: bool,
    as_json: bool,
) -> None:
    """Answer each spec without and with the adapter, and print both beside each other.

    ``neurons`` are erased in both; ``how`` are options of :func:`brodmann.evaluate.evaluate`.
    """
    from brodmann.cli.output import print_json
    from brodmann.cli.transfer import print_transfer
    from brodmann.data import load_examples
    from brodmann.evaluate import evaluate
    from brodmann.evaluate.transfer import transfer_rows
    from brodmann.interventions import erased
    from brodmann.tuning import adapted

    tests = {
        spec: load_examples(spec, split=split, limit=limit, seed=seed)
        for spec in dict.fromkeys(specs)
    }

    def answers(of: "LanguageModel", force: bool) -> "dict[str, Evaluation]":
        with erased(of, neurons, force=force) if neurons is not None else nullcontext():
            return {s: evaluate(of, t, **how) for s, t in tests.items()}

    before = answers(model, force)
    with adapted(model, adapter, force=force) as tuned:
        after = answers(tuned, True)
    rows = transfer_rows(before, after, _learnt(adapter), seed=seed)
    if as_json:
        count = None if neurons is None else len(neurons)
        print_json({"adapter": adapter, "erased_neurons": count, "transfer": rows})
    else:
        print_transfer(rows)


def _learnt(adapter: Path) -> str | None:
    """The data spec that an adapter of 'brodmann tune' was trained on, where its folder tells."""
    from brodmann.storage import read_json

    path = adapter / "run.json"
    record = read_json(path) if path.is_file() else {}
    return record.get("settings", {}).get("data") if record.get("command") == "tune" else None
