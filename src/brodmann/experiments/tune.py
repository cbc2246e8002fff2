"""`run_tune`: measure a model, tune it by one method, measure again, write what came out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial as partial_function
from pathlib import Path
from typing import Any, Literal

from peft import PeftModel

from brodmann.data import Example, load_examples
from brodmann.errors import InputError
from brodmann.evaluate import Evaluation, evaluate
from brodmann.evaluate.transfer import transfer_rows
from brodmann.experiments.partial import Partial, say
from brodmann.experiments.tune_method import (
    KEEPS_CHECKPOINT,
    NEURON_METHODS,
    MethodOptions,
    prepare,
)
from brodmann.launch import process_count, process_number
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronSet
from brodmann.storage import write_json
from brodmann.tuning.answers import training_rows
from brodmann.tuning.card import AdapterFacts, write_card
from brodmann.tuning.lora_form import check_has_lora_form, export_lora
from brodmann.tuning.merged_checkpoint import check_can_merge, export_merged
from brodmann.tuning.prepared import Prepared
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.trained_weights import put_back, trained_weights
from brodmann.tuning.training import TrainResult, train

Open = Callable[[], LanguageModel]

EXPORTS = ("merged", "lora")


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Everything that decides a tuning run, besides the model and what the method needs.

    Attributes:
        method: a name out of ``TUNING_METHODS``.
        data: spec of what is learnt; its train part is trained on, its test part measured.
        others: specs to measure as well: does it generalise?
        limit: training examples; all by default.
        held_out: training examples that are kept back for the loss during training.
        test_items: examples of each spec that are measured before and after, at most; 0 measures
            nothing.
        end_of_text: learn to stop behind the answer. A model that learns answers alone forgets
            to stop, and goes on behind a right answer.
        chat_template: ``"auto"`` puts prompts into the user's turn, in training and measuring.
        exports: further forms of the adapter: ``"merged"`` and ``"lora"``.
        allow_code_execution: measure programs by running them.
        full_lr: learning rate of the full fine-tune that NeFT needs.
        settings: of the training.
    """

    method: str
    data: str
    others: tuple[str, ...] = ()
    limit: int | None = None
    held_out: int = 0
    test_items: int = 100
    end_of_text: bool = True
    chat_template: Literal["off", "auto"] = "off"
    exports: tuple[str, ...] = ()
    allow_code_execution: bool = False
    full_lr: int | float = 1e-5
    settings: TrainSettings = dataclasses.field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        """Refuse forms that do not exist.

        Raises:
            InputError: naming those that do.
        """
        for form in self.exports:
            if form not in EXPORTS:
                raise InputError(f"Expected --export out of {', '.join(EXPORTS)}; got '{form}'.")
        if self.exports and self.method not in NEURON_METHODS:
            raise InputError(
                f"Expected --export with tuned neurons; method {self.method} has no other form "
                "than what it writes. Leave it out."
            )


@dataclass(frozen=True, eq=False)
class Tuned:
    """What came out of a run.

    Attributes:
        model: the tuned model.
        prepared: what was trained in it.
        result: the losses.
        transfer: rows of :func:`brodmann.evaluate.transfer.transfer_rows`.
    """

    model: LanguageModel
    prepared: Prepared
    result: TrainResult
    transfer: list[dict[str, Any]]

    @property
    def total_parameters(self) -> int:
        """Of the model without what an adapter adds; packed weights as what they stand for."""
        trained: Any = self.prepared.trained
        if not isinstance(trained, PeftModel):
            return sum(parameter.numel() for parameter in trained.parameters())
        adapter, everything = trained.get_nb_trainable_parameters()
        return everything - adapter


def run_tune(
    open_model: Open, config: TuneConfig, options: MethodOptions, partial: Partial
) -> Tuned | None:
    """Measure, tune, measure.

    Args:
        open_model: opens the model, unchanged, each time it is called.
        config: what to do.
        options: what the method needs.
        partial: keeps what is finished, checkpoints of the training included.

    Returns:
        The outcome; None in all processes but the first.

    Raises:
        InputError: options that do not go together.
        DataError: examples that cannot be used.
    """
    model = open_model()
    learnt, held_out = _examples(model, config)
    tests = _tests(config)
    first = process_number() == 0
    if config.method == "neft" and process_count() > 1:
        raise InputError("Expected one process for --method neft; start it without the launcher.")
    before = _before(partial, model, tests, config) if first else {}
    as_rows = partial_function(
        training_rows, model, end_of_text=config.end_of_text, chat_template=config.chat_template
    )
    rows = as_rows(learnt)
    options = dataclasses.replace(
        options, fully_tuned=lambda: _full(open_model, rows, config, partial)
    )
    prepared = prepare(config.method, model, options)
    _check_exports(model, prepared, config)
    eval_rows = as_rows(held_out) if held_out else None
    result = train(
        model, prepared.trained, rows, config.settings, partial.folder / "training",
        eval_rows=eval_rows, callbacks=prepared.callbacks, extra_loss=prepared.extra_loss,
    )  # fmt: skip
    weights = trained_weights(prepared.trained)
    if not first:
        return None
    if any(hasattr(parameter, "full_tensor") for parameter in prepared.trained.parameters()):
        model = open_model()  # the weights are spread over processes: put them together anew
        prepared = prepare(config.method, model, options)
        put_back(prepared.trained, weights)
    after = {spec: evaluate(model, items, **_asked(config)) for spec, items in tests.items()}
    seed = config.settings.seed
    compared = transfer_rows(before, after, config.data, seed=seed) if tests else []
    return Tuned(model, prepared, result, compared)


def _examples(
    model: LanguageModel, config: TuneConfig
) -> tuple[Sequence[Example], Sequence[Example]]:
    """What is learnt, and what is kept back."""
    found = load_examples(config.data, split="train", limit=config.limit, seed=config.settings.seed)
    if config.held_out >= len(found):
        raise InputError(
            f"Expected fewer held-out examples than the {len(found)} of '{config.data}'; got "
            f"{config.held_out}. Write a smaller --held-out, or a larger --limit."
        )
    cut = len(found) - config.held_out
    return found[:cut], found[cut:]


def _tests(config: TuneConfig) -> dict[str, list[Example]]:
    if config.test_items == 0:
        return {}
    specs = dict.fromkeys((config.data, *config.others))
    return {
        spec: load_examples(
            spec, split="test", limit=min(config.test_items, len(load_examples(spec, split="test")))
        )
        for spec in specs
    }


def _before(
    partial: Partial,
    model: LanguageModel,
    tests: Mapping[str, Sequence[Example]],
    config: TuneConfig,
) -> dict[str, Evaluation]:
    """How the base model answers; kept for a resumed run."""
    found = {}
    for spec, items in tests.items():
        rows = partial.piece(
            f"before/{spec}", lambda i=items: list(evaluate(model, i, **_asked(config)).rows)
        )
        found[spec] = Evaluation.from_rows(rows)
    return found


def _asked(config: TuneConfig) -> dict[str, Any]:
    names = ("chat_template", "allow_code_execution")
    return {name: getattr(config, name) for name in names}


def _check_exports(model: LanguageModel, prepared: Prepared, config: TuneConfig) -> None:
    """Before hours of training: what cannot be exported afterwards."""
    if "merged" in config.exports:
        check_can_merge(model)
    if "lora" in config.exports:
        check_has_lora_form(model, prepared.trained)


def _full(
    open_model: Open, rows: Sequence[dict[str, list[int]]], config: TuneConfig, partial: Partial
) -> LanguageModel:
    """The model after a full fine-tune on the same rows, for NeFT."""
    model = open_model()
    prepared = prepare("full", model, MethodOptions(seed=config.settings.seed))
    count = prepared.trained_parameters
    say(
        f"NeFT first trains all {count:,} parameters: as many steps again, and "
        f"{3 * 4 * count / 1e9:.1f} GB for gradients and Adam beside two copies of the model"
    )
    settings = dataclasses.replace(
        config.settings, lr=config.full_lr, patience=None, eval_every=None, save_every=None
    )
    train(model, prepared.trained, rows, settings, partial.folder / "full")
    return model


def write_tuned(tuned: Tuned, config: TuneConfig, folder: Path) -> int | None:
    """Write the adapter, or for methods that change all weights the checkpoint, and the losses.

    ``training.json`` holds the losses of each step, ``transfer.json`` the answers before and
    after. The folder of tuned neurons is accepted wherever a set is, and has a card.

    Returns:
        The rank of the LoRA form, where that is asked for.
    """
    trained: Any = tuned.prepared.trained
    trained.save_pretrained(folder)
    if config.method in KEEPS_CHECKPOINT:
        tuned.model.tokenizer.save_pretrained(folder)
    write_json(folder / "training.json", dataclasses.asdict(tuned.result))
    write_json(folder / "transfer.json", tuned.transfer)
    if config.method not in NEURON_METHODS:
        return None
    neurons = _trained_neurons(tuned)
    neurons.write_into(folder)
    write_card(folder, _card(tuned, config, neurons))
    if "merged" in config.exports:
        export_merged(tuned.model, trained, folder / "merged")
    return export_lora(tuned.model, trained, folder / "lora") if "lora" in config.exports else None


def _trained_neurons(tuned: Tuned) -> NeuronSet:
    trained: Any = tuned.prepared.trained
    config = trained.peft_config["default"]
    return NeuronSet.from_pairs(
        [(int(layer), neuron) for layer, at in config.neurons.items() for neuron in at],
        tuned.model.n_layers,
        tuned.model.n_neurons,
        real=tuned.model.real,
        provenance=config.located,
    )


def _card(tuned: Tuned, config: TuneConfig, neurons: NeuronSet) -> AdapterFacts:
    def side(row: Mapping[str, Any], name: str) -> dict[str, Any]:
        interval = (row[f"{name}_low"], row[f"{name}_high"])
        return {"accuracy": row[name], "interval": interval, "n": row["n"]}

    return AdapterFacts(
        base=tuned.model.name,
        fingerprint=tuned.model.fingerprint,
        counts=neurons.counts.tolist(),
        n_neurons=tuned.model.n_neurons_total,
        parameters=tuned.prepared.trained_parameters,
        total_parameters=tuned.total_parameters,
        located=[neurons.provenance],
        data=[config.data],
        settings={"method": config.method, **config.settings.work()},
        evaluations=[
            {"data": row["data"], "before": side(row, "base"), "after": side(row, "tuned")}
            for row in tuned.transfer
        ],
        quantisation=tuned.model.quantisation,
    )
