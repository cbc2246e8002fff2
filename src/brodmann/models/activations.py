"""Read and change neuron activations while the model runs: the only file with hooks.

Dense MLPs are reached by a hook on the input of the down projection. Experts keep their weights
in stacked tensors without a module per projection; they are reached through transformers'
experts interface, with a function that runs each expert in turn and hands its z to our programs.
Hooks registered after ``torch.compile`` are ignored silently, so a compiled model is refused when
it is loaded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.models.experts import ExpertProgram, expert_programs
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import DenseSite, ExpertSite, NeuronSite


@dataclass(slots=True)
class Activations:
    """What one layer's neurons did at the selected positions of one forward pass.

    Attributes:
        z: [P, n], the value at the site (the input of the down projection unless another was
            asked for), in the model's dtype.
        factor: [P, n], what the non-linearity's output is multiplied by; recorded for the site
            ``"pre"`` of gated MLPs.
        written: [P, D], the MLP's output before post-norm and multiplier; None unless asked for.
        routing: [P, E], the routing weight of each expert (0 = not used); None in dense layers.
    """

    z: Float[Tensor, "P n"] | None = None
    written: Float[Tensor, "P D"] | None = None
    routing: Float[Tensor, "P E"] | None = None
    factor: Float[Tensor, "P n"] | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """An affine change of one layer's neurons at every token: z -> z * scale + shift.

    Attributes:
        scale: [n].
        shift: [n], or None for 0.
    """

    scale: Float[Tensor, "n"]
    shift: Float[Tensor, "n"] | None = None


@contextmanager
def captured(
    model: LanguageModel,
    positions: Int[Tensor, "P"],
    *,
    layers: Sequence[int] | None = None,
    written: bool = False,
    site: str = "down_in",
) -> Iterator[dict[int, Activations]]:
    """Record activations at selected positions during the forward passes inside the block.

    Args:
        model: the model to observe.
        positions: flat indices b * T + t into the padded batch [B, T].
        layers: which layers; all by default.
        written: also record what each MLP writes.
        site: ``"down_in"`` (z), ``"act"`` (the non-linearity's output) or ``"pre"`` (its input);
            the latter two in dense layers only.

    Yields:
        Layer index -> :class:`Activations`, filled by a forward pass (the last one counts).
    """
    chosen = range(model.n_layers) if layers is None else layers
    found = {layer: Activations() for layer in chosen}
    with ExitStack() as stack:
        programs: dict[nn.Module, ExpertProgram] = {}
        for layer in chosen:
            place = model.sites[layer]
            if isinstance(place, ExpertSite):
                programs[place.experts] = _expert_recorder(place, positions, found[layer])
            elif site == "act":
                stack.enter_context(_activation_recorded(place, positions, found[layer]))
            elif site == "pre" and isinstance(place, DenseSite):
                stack.enter_context(_before_activation_recorded(place, positions, found[layer]))
            else:
                stack.enter_context(_input_recorded(place, positions, found[layer]))
            if written:
                stack.enter_context(_output_recorded(place, positions, found[layer]))
        stack.enter_context(expert_programs(model.hf, programs))
        yield found


@contextmanager
def edited(model: LanguageModel, edits: Mapping[int, Edit]) -> Iterator[None]:
    """Apply affine edits to the neurons of some layers, at every token, inside the block.

    The model is as before afterwards, also after an exception: nothing but hooks (and for experts
    the implementation's name in the config) is touched. Blocks can be nested; the inner edit sees
    what the outer one left.
    """
    with ExitStack() as stack:
        programs: dict[nn.Module, ExpertProgram] = {}
        for layer, edit in edits.items():
            place = model.sites[layer]
            if isinstance(place, DenseSite):
                hook = place.down.register_forward_pre_hook(_editing_hook(edit))
                stack.callback(hook.remove)
            elif isinstance(place, ExpertSite):
                programs[place.experts] = _expert_editor(place, edit)
        stack.enter_context(expert_programs(model.hf, programs))
        yield


@contextmanager
def written_replaced(
    model: LanguageModel, written: Mapping[int, tuple[slice, Float[Tensor, "r D"]]]
) -> Iterator[None]:
    """Let some rows of what MLPs write (before post-norm and multiplier) be given vectors.

    Args:
        model: the model; hooks are removed at the end of the block.
        written: layer -> which rows of the flattened batch [B * T], and their vectors.
    """
    with ExitStack() as stack:
        for layer, (rows, vectors) in written.items():
            hook = model.sites[layer].writer.register_forward_hook(_replacing_hook(rows, vectors))
            stack.callback(hook.remove)
        yield


@contextmanager
def input_captured(module: nn.Module, positions: Int[Tensor, "P"]) -> Iterator[list[Tensor]]:
    """Record a module's input [P, D] at flat positions; the list holds one tensor per call."""
    seen: list[Tensor] = []

    def record(_: nn.Module, args: tuple[Any, ...]) -> None:
        seen.append(_at(args[0], positions))

    hook = module.register_forward_pre_hook(record)
    try:
        yield seen
    finally:
        hook.remove()


@dataclass(slots=True)
class LayerCall:
    """How a decoder layer was called in one forward pass, and the hidden states it gave.

    Attributes:
        args: positional arguments.
        kwargs: keyword arguments.
        output: hidden states [B, T, D], or [P, D] where positions were chosen.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    output: Tensor | None = None


@contextmanager
def layer_calls(
    model: LanguageModel, positions: Int[Tensor, "P"] | None = None
) -> Iterator[list[LayerCall]]:
    """Record each layer's call, so that a layer can be run again alone.

    Args:
        model: the model to observe.
        positions: keep the output at these flat positions only.
    """
    calls = [LayerCall() for _ in model.sites]
    with ExitStack() as stack:
        for site, call in zip(model.sites, calls, strict=True):
            hook = site.layer_module.register_forward_hook(
                _call_recorder(call, positions), with_kwargs=True
            )
            stack.callback(hook.remove)
        yield calls


def hidden_states(output: Any) -> Tensor:
    """A layer's hidden states; older families return them first in a tuple."""
    return output[0] if isinstance(output, tuple) else output


def _call_recorder(call: LayerCall, positions: Tensor | None) -> Callable[..., None]:
    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        call.args, call.kwargs = args, kwargs
        states = hidden_states(output)
        call.output = states.clone() if positions is None else _at(states, positions)

    return record


def _at(values: Tensor, positions: Tensor) -> Tensor:
    # OPT flattens [B, T, n] to [B * T, n] before its MLP: flat positions serve both.
    flat = values.reshape(-1, values.shape[-1])
    return flat[positions.to(flat.device)].detach()


@contextmanager
def _input_recorded(place: NeuronSite, positions: Tensor, into: Activations) -> Iterator[None]:
    def record(_: nn.Module, args: tuple[Any, ...]) -> None:
        into.z = _at(args[0], positions)

    hook = place.writer.register_forward_pre_hook(record)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _activation_recorded(place: NeuronSite, positions: Tensor, into: Activations) -> Iterator[None]:
    def record(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        into.z = _at(output, positions)

    assert place.activation is not None
    hook = place.activation.register_forward_hook(record)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _before_activation_recorded(
    place: DenseSite, positions: Tensor, into: Activations
) -> Iterator[None]:
    def record_input(_: nn.Module, args: tuple[Any, ...]) -> None:
        into.z = _at(args[0], positions)

    def record_up(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        into.factor = _at(output, positions)[:, -place.n_neurons :]  # fused: gate first, then up

    assert place.activation is not None
    hooks = [place.activation.register_forward_pre_hook(record_input)]
    if place.gated:
        hooks.append(place.inward[0].register_forward_hook(record_up))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _output_recorded(place: NeuronSite, positions: Tensor, into: Activations) -> Iterator[None]:
    def record(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        into.written = _at(output, positions)  # indexing copies: Falcon adds to it in place

    hook = place.writer.register_forward_hook(record)
    try:
        yield
    finally:
        hook.remove()


def _editing_hook(edit: Edit) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def change(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_apply(edit, args[0], slice(None)), *args[1:])

    return change


def _replacing_hook(rows: slice, vectors: Tensor) -> Callable[..., Tensor]:
    def replace(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        flat = output.reshape(-1, output.shape[-1])
        kept = (flat[: rows.start], vectors.to(flat.device, flat.dtype), flat[rows.stop :])
        return torch.cat(kept).view_as(output)

    return replace


def _apply(edit: Edit, z: Tensor, span: slice) -> Tensor:
    changed = z * edit.scale[span].to(z.device, z.dtype)
    return changed if edit.shift is None else changed + edit.shift[span].to(z.device, z.dtype)


def _span(place: ExpertSite, expert: int) -> slice:
    return slice(expert * place.width, (expert + 1) * place.width)


def _expert_editor(place: ExpertSite, edit: Edit) -> ExpertProgram:
    def change(expert: int, tokens: Tensor, weights: Tensor, z: Tensor) -> Tensor:
        return _apply(edit, z, _span(place, expert))

    return change


def _expert_recorder(place: ExpertSite, positions: Tensor, into: Activations) -> ExpertProgram:
    def record(expert: int, tokens: Tensor, weights: Tensor, z: Tensor) -> Tensor:
        if expert == 0 or into.z is None or into.routing is None:
            into.z = z.new_zeros(len(positions), place.n_neurons)
            into.routing = weights.new_zeros(len(positions), place.n_experts)
        # A selected position may repeat (several targets at one token): match all pairs.
        rows, hits = (positions.to(tokens.device)[:, None] == tokens[None, :]).nonzero().T
        into.z[rows, _span(place, expert)] = z[hits].detach()
        into.routing[rows, expert] = weights[hits].detach()
        return z

    return record
