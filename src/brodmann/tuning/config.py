"""`NeuronTuningConfig`: which neurons an adapter trains, as PEFT keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from peft.config import PeftConfig

from brodmann.errors import InputError, MismatchError
from brodmann.models.language_model import LanguageModel
from brodmann.neurons import NeuronSet


class PeftTypeName(str):
    """A name of a PEFT method, with what PEFT and transformers read off their enumeration."""

    @property
    def value(self) -> str:
        """The name itself."""
        return str(self)

    @property
    def name(self) -> str:
        """The name itself."""
        return str(self)

    def __str__(self) -> str:
        return str.__str__(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "PeftTypeName":
        return self


# PEFT without brodmann says KeyError: 'BRODMANN', which names the package that is missing.
NEURON_TUNING = PeftTypeName("BRODMANN")


@dataclass
class NeuronTuningConfig(PeftConfig):
    """Train the parameters of some neurons of a causal language model (CNLF) and nothing else.

    For each neuron: its row of gate and of up (with their biases) and its column of down. What is
    trained are differences to the model's own numbers, float32 whatever the model's type; weight
    decay therefore pulls towards the model as it was.

    Attributes:
        neurons: layer -> the neurons in it; kept as JSON has it, ``{"17": [3, 1080]}``. In layers
            of experts: expert * width + index.
        train_bias: train the neurons' biases, where the model has some.
        fingerprint: of the model that the neurons were located on.
        located: how they were located: provenance of the set.
        modules_to_save: further modules that PEFT trains whole and keeps in the adapter.
        target_modules: found by the neurons when the adapter is put into a model.
    """

    neurons: dict[Any, list[int]] = field(default_factory=dict)
    train_bias: bool = True
    fingerprint: str | None = None
    located: dict[str, Any] | None = None
    modules_to_save: list[str] | None = None
    target_modules: Any = None
    exclude_modules: Any = None

    def __post_init__(self) -> None:
        """Bring neurons into the form that JSON keeps.

        Raises:
            InputError: a layer that is not a number, or a neuron that is named twice.
        """
        super().__post_init__()
        self.peft_type: Any = NEURON_TUNING
        by_layer = [(_number(layer), indices) for layer, indices in self.neurons.items()]
        if len({layer for layer, _ in by_layer}) < len(by_layer):
            raise InputError(f"Expected each layer once in 'neurons'; got {list(self.neurons)}.")
        self.neurons = {
            str(layer): _ascending(layer, indices) for layer, indices in sorted(by_layer) if indices
        }

    @property
    def n_neurons(self) -> int:
        """How many neurons are trained."""
        return sum(len(indices) for indices in self.neurons.values())


def neuron_tuning(
    model: LanguageModel,
    *sets: NeuronSet,
    train_bias: bool = True,
    force: bool = False,
    task_type: str = "CAUSAL_LM",
) -> NeuronTuningConfig:
    """Make the config that trains the union of some sets on a model.

    Args:
        model: the model to be trained.
        sets: neurons of it.
        train_bias: train the neurons' biases, where the model has some.
        force: take sets that were located on another model of the same shape.
        task_type: PEFT's.

    Raises:
        InputError: no neurons at all.
        MismatchError: a set that was located on another model, or has another shape.
    """
    if not sets:
        raise InputError("Expected one set of neurons or more to tune; got none.")
    for neurons in sets:
        if neurons.mask.shape != model.real.shape:
            raise MismatchError(
                f"Expected a set of {model.n_layers} layers x {model.n_neurons} neurons for "
                f"'{model.name}'; got {' x '.join(str(size) for size in neurons.mask.shape)}."
            )
        neurons.check_belongs(model.fingerprint, model.name, force=force)
    union = reduce(or_, sets)
    if len(union) == 0:
        raise InputError(
            "Expected at least one neuron to tune; the set is empty. Select more with a lower "
            "--sigma."
        )
    layers = {layer: union.indices(layer).tolist() for layer in range(model.n_layers)}
    return NeuronTuningConfig(
        task_type=task_type,
        neurons={str(layer): indices for layer, indices in layers.items() if indices},
        train_bias=train_bias,
        fingerprint=model.fingerprint,
        located=union.provenance,
    )


def overlap(configs: Mapping[str, NeuronTuningConfig]) -> tuple[str, str, int] | None:
    """Find two adapters that train the same neuron: their names and how many they share."""
    seen: dict[tuple[str, int], str] = {}
    shared: dict[tuple[str, str], int] = {}
    for name, config in configs.items():
        for layer, indices in config.neurons.items():
            for index in indices:
                other = seen.setdefault((layer, index), name)
                if other != name:
                    shared[other, name] = shared.get((other, name), 0) + 1
    return next(((*pair, count) for pair, count in shared.items()), None)


def _number(layer: object) -> int:
    if not str(layer).isdecimal():
        raise InputError(f"Expected layers as numbers in 'neurons', such as '17'; got '{layer}'.")
    return int(str(layer))


def _ascending(layer: int, indices: list[int]) -> list[int]:
    ascending = sorted(int(index) for index in indices)
    if len(set(ascending)) < len(ascending) or ascending[0] < 0:
        raise InputError(f"Expected each neuron of layer {layer} once, from 0 up; got {indices}.")
    return ascending
