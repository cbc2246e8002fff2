"""What an adapter has learnt, matrix by matrix: for exports."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn

from brodmann.errors import InputError, ModelError
from brodmann.tuning.expert_layers import NeuronTuningExperts
from brodmann.tuning.layers import Axis, NeuronTuningLinear


@dataclass(frozen=True)
class TunedMatrix:
    """The difference that an adapter makes to one projection W [out, in].

    Attributes:
        name: the projection's module in the model without adapters.
        axis: whether rows or columns of W are changed.
        indices: which.
        delta: what is added to row or column ``indices[i]``.
        bias_delta: what is added to their biases, for rows that have some.
        shape: (out, in).
        transposed: the weight is kept as [in, out] (Conv1D).
    """

    name: str
    axis: Axis
    indices: Int[Tensor, "k"]
    delta: Float[Tensor, "k _"]
    bias_delta: Float[Tensor, "k"] | None
    shape: tuple[int, int]
    transposed: bool


def tuned_matrices(hf: nn.Module, adapter: str = "default") -> list[TunedMatrix]:
    """Read an adapter out of a model, in the order of the model's modules.

    Args:
        hf: a model with the adapter in it (a PeftModel, or the model that it stands around).
        adapter: the adapter's name.

    Raises:
        InputError: no such adapter.
        ModelError: experts are tuned, whose weights are no single matrices.
    """
    found: list[TunedMatrix] = []
    for name, module in hf.named_modules():
        if isinstance(module, NeuronTuningExperts) and adapter in module.brodmann_places:
            raise ModelError(
                f"Expected an adapter of dense layers; '{adapter}' tunes experts, which have no "
                "LoRA form. Export the merged checkpoint."
            )
        if isinstance(module, NeuronTuningLinear) and adapter in module.brodmann_places:
            found.append(_matrix(name.removeprefix("base_model.model."), module, adapter))
    if not found:
        raise InputError(f"Expected an adapter of neuron tuning named '{adapter}'; none is there.")
    return found


def _matrix(name: str, layer: NeuronTuningLinear, adapter: str) -> TunedMatrix:
    bias = layer.brodmann_bias
    return TunedMatrix(
        name=name.replace(".base_layer", ""),
        axis=layer.brodmann_places[adapter].axis,
        indices=layer.indices(adapter),
        delta=layer.brodmann_delta[adapter].detach(),
        bias_delta=bias[adapter].detach() if adapter in bias else None,
        shape=(layer.out_features, layer.in_features),
        transposed=layer.transposed,
    )
