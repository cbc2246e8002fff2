"""`run_tune`: measure a model, tune it by one method, measure again, write what came out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from brodmann.data import Example, load_examples
from brodmann.errors import InputError
from brodmann.evaluate import Evaluation, evaluate
from brodmann.evaluate.transfer import transfer_rows
from brodmann.experiments.partial import Partial, say
from brodmann.experiments.tune_method import KEEPS_CHECKPOINT, MethodOptions, prepare
from brodmann.launch import process_number
from brodmann.models.language_model import LanguageModel
from brodmann.storage import write_json
from brodmann.tuning.answers import training_rows
from brodmann.tuning.prepared import Prepared
from brodmann.tuning.train_settings import TrainSettings
from brodmann.tuning.trained_weights import put_back, trained_weights
from brodmann.tuning.training import TrainResult, train

Open = Callable[[], LanguageModel]


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
        end_of_text: learn to stop behind the answer.
        chat_template: ``"auto"`` puts prompts into the user's turn, in training and measuring.
        settings: of the training.
    """

    method: str
    data: str
    others: tuple[str, ...] = ()
    limit: int | None = None
    held_out: int = 0
    test_items: int = 100
    end_of_text: bool = False
    chat_template: Literal["off", "auto"] = "off"
    settings: TrainSettings = dataclasses.field(default_factory=TrainSettings)


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
    before = _before(partial, model, tests, config) if first else {}
    rows = training_rows(
        model, learnt, end_of_text=config.end_of_text, chat_template=config.chat_template
    )
    options = dataclasses.replace(
        options, fully_tuned=lambda: _full(open_model, rows, config, partial)
    )
    prepared = prepare(config.method, model, options)
    eval_rows = (
        training_rows(model, held_out, chat_template=config.chat_template) if held_out else None
    )
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
    return {spec: load_examples(spec, split="test")[: config.test_items] for spec in specs}


def _before(
    partial: Partial,
    model: LanguageModel,
    tests: Mapping[str, Sequence[Example]],
    config: TuneConfig,
) -> dict[str, Evaluation]:
    """How the base model answers; kept, because a resumed run has no base model any more."""
    found = {}
    for spec, items in tests.items():
        rows = partial.piece(
            f"before/{spec}", lambda i=items: list(evaluate(model, i, **_asked(config)).rows)
        )
        found[spec] = Evaluation.from_rows(rows)
    return found


def _asked(config: TuneConfig) -> dict[str, Any]:
    return {"chat_template": config.chat_template}


def _full(
    open_model: Open, rows: Sequence[dict[str, list[int]]], config: TuneConfig, partial: Partial
) -> LanguageModel:
    """The model after a full fine-tune with the same settings, for NeFT."""
    say("NeFT trains all parameters first: this takes as long as --method full, and its memory")
    model = open_model()
    prepared = prepare("full", model, MethodOptions())
    train(model, prepared.trained, rows, config.settings, partial.folder / "full")
    return model


def write_tuned(tuned: Tuned, config: TuneConfig, folder: Path) -> None:
    """Write the adapter, or for methods that change all weights the checkpoint, and the losses.

    ``training.json`` holds the losses of each step, ``transfer.json`` the answers before and
    after.
    """
    trained: Any = tuned.prepared.trained
    if config.method in KEEPS_CHECKPOINT:
        trained.save_pretrained(folder)
        tuned.model.tokenizer.save_pretrained(folder)
    else:
        trained.save_pretrained(folder)
    write_json(folder / "training.json", dataclasses.asdict(tuned.result))
    write_json(folder / "transfer.json", tuned.transfer)
