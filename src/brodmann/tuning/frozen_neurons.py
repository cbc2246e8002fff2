"""Train everything but some neurons: the papers' control "without located"."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback

from brodmann.errors import InputError, MismatchError, RunError
from brodmann.models.language_model import LanguageModel
from brodmann.models.neuron_parameters import NeuronSlice, neuron_slices
from brodmann.neurons import NeuronSet
from brodmann.tuning.prepared import Prepared, prepare_full

MODES = ("freeze_located", "erase_then_tune_rest")


def prepare_without(
    model: LanguageModel, neurons: NeuronSet, mode: str = "freeze_located", *, force: bool = False
) -> Prepared:
    """Prepare to train every parameter but those of the located neurons.

    A neuron's parameters are its rows of gate and up, their biases, and its column of down. They
    are bit-identical after training: their gradients are 0, and what an optimiser does to them
    without any (weight decay) is undone after each of its steps.

    Args:
        model: the model; ``"erase_then_tune_rest"`` changes its weights at once.
        neurons: the located neurons.
        mode: ``"freeze_located"`` leaves them as they are (dcsn.txt); ``"erase_then_tune_rest"``
            sets their parameters to 0 first (cnl.txt).
        force: take a set that was located on another model of the same shape.

    Raises:
        InputError: an unknown mode, or an empty set.
        MismatchError: neurons of another model.
        ModelError: a model with adapters, packed weights, or weights kept off the device.
    """
    if mode not in MODES:
        raise InputError(f"Expected a mode out of {', '.join(MODES)}; got '{mode}'.")
    _check(model, neurons, force)
    prepared = prepare_full(model)
    chosen = [(site, neurons.indices(layer)) for layer, site in enumerate(model.sites)]
    slices = [part for site, at in chosen if len(at) for part in neuron_slices(site, at)]
    if mode == "erase_then_tune_rest":
        for part in slices:
            part.write(0.0)
    count = prepared.trained_parameters - sum(part.count for part in slices)
    return Prepared(prepared.trained, (FrozenNeurons(slices),), None, count, prepared.note)


class FrozenNeurons(TrainerCallback):
    """Keeps parts of parameters as they are while the rest of these parameters is trained.

    The trainer calls it. A training loop of one's own calls :meth:`begin` before the first
    backward pass, :meth:`put_back` after each step of the optimiser, and :meth:`end`.
    """

    def __init__(self, slices: Sequence[NeuronSlice]) -> None:
        """Remember what the slices hold now."""
        self._slices = list(slices)
        self._kept = [part.read() for part in self._slices]
        self._hooks: list[RemovableHandle] = []

    def begin(self) -> None:
        """From now on, gradients of the frozen parts are 0 (so the norm that clips is the rest's).

        Raises:
            RunError: a parameter that is not trained at all.
        """
        self.end()
        by_parameter: dict[int, list[NeuronSlice]] = {}
        for part in self._slices:
            by_parameter.setdefault(id(part.parameter), []).append(part)
        for parts in by_parameter.values():
            if not parts[0].parameter.requires_grad:
                raise RunError(
                    "Expected parameters that are trained around the frozen neurons; some do not "
                    "require gradients. Prepare the model anew."
                )
            self._hooks.append(parts[0].parameter.register_hook(partial(_masked, parts)))
        self.put_back()

    def put_back(self) -> None:
        """Set the frozen parts to what they were."""
        for part, kept in zip(self._slices, self._kept, strict=True):
            part.write(kept)

    def end(self) -> None:
        """Let gradients through again."""
        while self._hooks:
            self._hooks.pop().remove()

    def work(self, trained: nn.Module) -> dict[str, Any]:
        """Say which parts of which parameters are frozen, and whether they were erased.

        Args:
            trained: the module whose parameters they are parts of.
        """
        names = {id(parameter): name for name, parameter in trained.named_parameters()}
        parts = [[names.get(id(p.parameter)), *_places(p)] for p in self._slices]
        return {"frozen": parts, "erased": not any(bool(kept.any()) for kept in self._kept)}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin, on the very parameters that are trained.

        Raises:
            RunError: the trainer has replaced the model's parameters (FSDP shards them).
        """
        _check_held(self._slices, kwargs["model"])
        self.begin()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Undo what the optimiser did to the frozen parts without a gradient."""
        self.put_back()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End."""
        self.end()


def _places(part: NeuronSlice) -> list[Any]:
    experts = None if part.experts is None else part.experts.tolist()
    return [part.kind, part.dim, part.indices.tolist(), experts]


def _masked(parts: Sequence[NeuronSlice], gradient: Tensor) -> Tensor:
    masked = gradient.clone()  # a hook must not change the gradient it is given
    for part in parts:
        part.write(0.0, masked)
    return masked


def _check_held(slices: Sequence[NeuronSlice], trained: nn.Module) -> None:
    held = {id(parameter) for parameter in trained.parameters()}
    if any(id(part.parameter) not in held for part in slices):
        raise RunError(
            "Expected the trainer to train the prepared model's own parameters; it replaced them, "
            "as sharding (FSDP) does. Train 'without' in one process, or with DDP."
        )


def _check(model: LanguageModel, neurons: NeuronSet, force: bool) -> None:
    same = neurons.mask.shape == model.real.shape
    if not same or bool((neurons.mask & ~model.real).any()):
        raise MismatchError(
            f"Expected a set of {model.n_layers} layers x {model.n_neurons} neurons for "
            f"'{model.name}'; got {' x '.join(str(size) for size in neurons.mask.shape)}."
        )
    neurons.check_belongs(model.fingerprint, model.name, force=force)
    if len(neurons) == 0:
        raise InputError(
            "Expected at least one neuron to leave out; the set is empty. Train with method 'full'."
        )
