"""What each method of tuning trains: located neurons, and the baselines of methods.md §8."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from brodmann.errors import InputError
from brodmann.evaluate.controls import random_sets
from brodmann.localize.neft import neft
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronSet
from brodmann.registry import Registry
from brodmann.tuning.frozen_neurons import prepare_without
from brodmann.tuning.lora import prepare_lora
from brodmann.tuning.olora import prepare_olora
from brodmann.tuning.prepared import Prepared, prepare_full, prepare_neurons
from brodmann.tuning.super_tuning import prepare_super


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What a method of tuning has to be told.

    Attributes:
        neurons: the located set, for the methods that have to do with one.
        seed: of the random neurons.
        without: how located neurons are kept out: ``"freeze_located"`` (dcsn.txt) or
            ``"erase_then_tune_rest"`` (cnl.txt).
        rank: of LoRA and O-LoRA.
        earlier: folders of the earlier tasks' adapters, for O-LoRA.
        train_bias: train the neurons' biases.
        force: take a set that was located on another model of the same shape.
        fully_tuned: gives the model after a full fine-tune, for NeFT.
    """

    neurons: NeuronSet | None = None
    seed: int = 0
    without: str = "freeze_located"
    rank: int = 8
    earlier: tuple[Path, ...] = ()
    train_bias: bool = True
    force: bool = False
    fully_tuned: Callable[[], LanguageModel] | None = None


Method = Callable[[LanguageModel, MethodOptions], Prepared]

TUNING_METHODS: Registry[Method] = Registry("tuning method")

KEEPS_CHECKPOINT = ("full", "without")
"""Methods that change the model's own weights: what they make is a whole checkpoint."""


NEURON_METHODS = ("neurons", "random", "neft")
"""Methods that train neurons: what they make is an adapter of ours."""


def prepare(method: str, model: LanguageModel, options: MethodOptions) -> Prepared:
    """Make a model ready to be tuned by a method; what it draws at the start is seeded.

    Raises:
        UnknownNameError: no such method.
        InputError: a method that needs something the options lack; see its own function.
    """
    chosen = TUNING_METHODS.get(method)
    torch.manual_seed(options.seed)  # LoRA begins at random
    return chosen(model, options)


def _located(options: MethodOptions) -> NeuronSet:
    if options.neurons is None:
        raise InputError("Expected a located set of neurons for this method; got none: --neurons.")
    return options.neurons


def _train(model: LanguageModel, neurons: NeuronSet, options: MethodOptions) -> Prepared:
    return prepare_neurons(model, neurons, train_bias=options.train_bias, force=options.force)


@TUNING_METHODS.register("neurons")
def _neurons(model: LanguageModel, options: MethodOptions) -> Prepared:
    return _train(model, _located(options), options)


@TUNING_METHODS.register("random")
def _random(model: LanguageModel, options: MethodOptions) -> Prepared:
    (drawn,) = random_sets(_located(options), 1, seed=options.seed)
    note = "one random draw; single draws mislead (repeat it with other seeds)"
    return dataclasses.replace(_train(model, drawn, options), note=note)


@TUNING_METHODS.register("without")
def _without(model: LanguageModel, options: MethodOptions) -> Prepared:
    return prepare_without(model, _located(options), options.without, force=options.force)


@TUNING_METHODS.register("full")
def _full(model: LanguageModel, options: MethodOptions) -> Prepared:
    return prepare_full(model)


@TUNING_METHODS.register("lora")
def _lora(model: LanguageModel, options: MethodOptions) -> Prepared:
    return prepare_lora(model, options.rank)


@TUNING_METHODS.register("olora")
def _olora(model: LanguageModel, options: MethodOptions) -> Prepared:
    return prepare_olora(model, options.earlier, options.rank)


@TUNING_METHODS.register("super")
def _super(model: LanguageModel, options: MethodOptions) -> Prepared:
    located = _located(options)
    sizes = zip(located.counts.tolist(), model.sites, strict=True)
    return prepare_super(model, sum(n * site.parameters_per_neuron for n, site in sizes))


@TUNING_METHODS.register("neft")
def _neft(model: LanguageModel, options: MethodOptions) -> Prepared:
    """As many neurons as were located: those that a full fine-tune turned the most."""
    if options.fully_tuned is None:
        raise InputError("Expected a fully fine-tuned model for NeFT; got none.")
    scores = neft(model, options.fully_tuned().hf)
    return _train(model, scores.top(k=len(_located(options))), options)
