"""The work behind `brodmann locate`: data, model, scores, set, folder."""

import dataclasses
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from brodmann.cli.locate_request import Request, option_name, print_located
from brodmann.errors import InputError

if TYPE_CHECKING:
    from brodmann.data import Example
    from brodmann.models import LanguageModel
    from brodmann.neurons import NeuronScores, NeuronSet

    Rule = Callable[[NeuronScores], NeuronSet]

DEFAULTS = {"site": "down_in", "chat_template": "off", "batch_size": "auto"}


def run(request: Request) -> None:
    """Locate by scores of examples, select, write the folder and print.

    Raises:
        InputError: options that do not go together; see the library's functions for the rest.
    """
    from brodmann.cli.opening import checkpoint_file, open_model
    from brodmann.cli.processes import join
    from brodmann.cli.run_record import RunRecord
    from brodmann.localize import UntilStable
    from brodmann.localize.locate import check_options
    from brodmann.report.figure_convergence import write_convergence
    from brodmann.storage import check_new_folder, new_folder, write_json

    settings, rule = _sorted_out(request)
    if request.until_stable is not None:
        settings["until_stable"] = UntilStable(request.until_stable, rule, request.min_samples)
    check_options(request.method, settings)
    check_new_folder(request.out, request.overwrite)
    examples, asked = _examples(request)
    plain = {key: value for key, value in settings.items() if key != "until_stable"}
    record = RunRecord(
        "locate", method=request.method, data=asked, until_stable=request.until_stable, **plain
    )
    first = join(request.device)
    opened = open_model(request.model, request.device, request.dtype)
    check_top(opened, request.rule)
    checkpoint = checkpoint_file(request.out, resume=request.resume, overwrite=request.overwrite)
    started = time.perf_counter()
    result = _located(request, opened, examples, rule, settings | {"checkpoint": checkpoint})
    if not first:
        return
    seconds = time.perf_counter() - started
    scores = dataclasses.replace(
        result.scores, provenance={**result.scores.provenance, "data": asked}
    )
    with new_folder(request.out, request.overwrite) as folder:
        scores.write_into(folder)
        result.neurons.write_into(folder)
        write_convergence(folder, scores, result.rule)
        if result.facts is not None:
            write_json(folder / "facts.json", result.facts)
        record.write(
            folder, opened, scores=scores.provenance, rule=result.neurons.provenance["rule"],
            neurons=len(result.neurons), samples=scores.n_samples, seconds=seconds,
        )  # fmt: skip
    shutil.rmtree(checkpoint.parent, ignore_errors=True)
    print_located(opened, result.neurons, request, {"samples": scores.n_samples}, scores=scores)


def _examples(request: Request) -> "tuple[list[Example], dict[str, Any]]":
    """The examples, and what they are, for the record; facts are examples of kn."""
    from brodmann.data import canonical_spec, load_examples, load_facts
    from brodmann.data.fact_files import holds_facts
    from brodmann.data.spec import DataSpec

    spec = request.one_data()
    of_facts = request.method == "kn" and DataSpec.parse(spec).kind == "path" and holds_facts(spec)
    asked = {
        "spec": spec if of_facts else str(canonical_spec(spec)),
        "split": "all" if of_facts else request.split,
        "limit": request.limit,
        "seed": request.seed,
    }
    if of_facts:
        facts = load_facts(spec, limit=request.limit, seed=request.seed)
        return [example for fact in facts for example in fact.examples()], asked
    return load_examples(spec, split=request.split, limit=request.limit, seed=request.seed), asked


@dataclass(frozen=True)
class _Result:
    scores: "NeuronScores"
    neurons: "NeuronSet"
    rule: "Rule"
    facts: list[dict[str, Any]] | None = None


def _sorted_out(request: Request) -> "tuple[dict[str, Any], Rule]":
    """The method's options, and the rule that selects the set."""
    from brodmann.neurons import NeuronScores

    settings, rule = DEFAULTS | request.settings, dict(request.rule)
    if request.method == "kn":
        if "sign" in rule:
            settings["sign"] = rule.pop("sign")
        _refuse(rule, "Method kn selects by --t, --p and --sign")
        return settings, NeuronScores.select
    return settings, selection(rule)


def selection(rule: dict[str, Any]) -> "Rule":
    """The rule that selects the set, by its options.

    Raises:
        InputError: options that do not go together.
    """
    from brodmann.neurons import NeuronScores

    if "k" in rule:
        _refuse(set(rule) - {"k", "sign"}, "--top takes the strongest")
        return partial(NeuronScores.top, **rule)
    if rule.get("sigma", 6) <= 0:
        raise InputError(f"Expected --sigma above 0; got {rule['sigma']:g}.")
    return partial(NeuronScores.select, **rule)


def _refuse(names: "set[str] | dict[str, Any]", why: str) -> None:
    if names:
        options = ", ".join(map(option_name, sorted(names)))
        raise InputError(f"{why}; got {options} too. Leave it out.")


def check_top(model: "LanguageModel", rule: dict[str, Any]) -> None:
    """Refuse to take more neurons than there are."""
    if rule.get("k", 0) > model.n_neurons_total:
        raise InputError(
            f"Expected --top up to {model.n_neurons_total}, the model's neurons; got {rule['k']}."
        )


def _located(
    request: Request,
    model: "LanguageModel",
    examples: "list[Example]",
    rule: "Rule",
    settings: dict[str, Any],
) -> _Result:
    from brodmann.localize import locate

    if request.method == "kn":
        return _located_facts(model, examples, settings)
    scores = locate(model, examples, request.method, **settings)
    return _Result(scores, rule(scores), rule)


def _located_facts(
    model: "LanguageModel", examples: "list[Example]", settings: dict[str, Any]
) -> _Result:
    from functools import reduce
    from operator import or_

    from brodmann.localize import facts_of, knowledge_neurons
    from brodmann.neurons import NeuronScores, NeuronSet, pooled

    facts = facts_of(examples)
    found = knowledge_neurons(model, facts, **settings)
    one = next(iter(found.values()))
    provenance = {key: value for key, value in one.scores.provenance.items() if key != "group"}
    scores = pooled([each.scores for each in found.values()], provenance)
    mask = reduce(or_, (each.neurons.mask for each in found.values()))
    neurons = NeuronSet.from_mask(
        mask, scores.real, provenance | {"rule": one.neurons.provenance["rule"]}
    )
    rows = [
        {
            "fact": fact,
            "prompts": each.scores.n_samples,
            "neurons": [
                {"layer": layer, "neuron": neuron, "votes": each.votes[layer, neuron].item(),
                 "score": each.scores.values[layer, neuron].item()}
                for layer, neuron in each.neurons
            ],
        }
        for fact, each in found.items()
    ]  # fmt: skip
    # Votes are counted per fact; the curve shows the strongest mean scores, as many as were kept.
    strongest = partial(NeuronScores.top, k=max(1, len(neurons)))
    return _Result(scores, neurons, strongest, rows)
