"""Follow an architecture row through a model to the neurons of each layer."""

from typing import Any

from torch import nn

from brodmann.errors import ModelError
from brodmann.models.architectures import Architecture, submodule
from brodmann.models.sites import DenseSite, ExpertSite, NeuronSite
from brodmann.models.weights import base_layer


def find_sites(hf: Any, row: Architecture) -> tuple[NeuronSite, ...]:
    """The neuron site of every layer, from the bottom up, where the row says they are.

    Raises:
        ModelError: a module that the row names is not there.
    """
    decoder = hf.get_decoder()
    layers = submodule(decoder, row.layers)
    if not isinstance(layers, nn.ModuleList):
        raise ModelError(
            f"Expected decoder layers at '{row.layers}' as architecture row '{row.name}' says; "
            f"'{hf.config.model_type}' has none there."
        )
    multiplier = getattr(hf.config, row.residual_multiplier) if row.residual_multiplier else 1.0
    return tuple(_site(layer, index, row, float(multiplier)) for index, layer in enumerate(layers))


def _site(layer: nn.Module, index: int, row: Architecture, multiplier: float) -> NeuronSite:
    mlp = _required(layer, row.mlp, index, row)
    common: dict[str, Any] = {
        "layer": index,
        "layer_module": layer,
        "mlp": mlp,
        "post_norm": _required(layer, row.post_norm, index, row) if row.post_norm else None,
        "multiplier": multiplier,
    }
    experts: Any = submodule(mlp, row.experts) if row.experts else None
    if experts is not None:
        experts = base_layer(experts)
        if any("shared_expert" in name for name, _ in mlp.named_children()):
            raise ModelError(
                f"Layer {index} has a shared expert beside the routed ones, which no architecture "
                "row describes yet (CONTRIBUTING, 'Add an architecture')."
            )
        count = int(experts.num_experts)
        width = experts.down_proj.shape[1 if getattr(experts, "is_transposed", False) else 2]
        return ExpertSite(
            experts=experts, n_experts=count, n_neurons=count * width, activation=None, **common
        )
    down = _required(mlp, row.down, index, row)
    names = (row.gate_up,) if row.gate_up else tuple(n for n in (row.up, row.gate) if n)
    inward = tuple(_required(mlp, name, index, row) for name in names)
    return DenseSite(
        down=down,
        inward=inward,
        n_neurons=_inputs(down),
        activation=_required(mlp, row.activation, index, row),
        **common,
    )


def _inputs(down: nn.Module) -> int:
    base = base_layer(down)
    # Packed 4-bit weights have another shape: the layer's own numbers count.
    return int(base.in_features if hasattr(base, "in_features") else base.weight.shape[0])


def _required(root: nn.Module, path: str, index: int, row: Architecture) -> nn.Module:
    module = submodule(root, path)
    if module is None:
        raise ModelError(
            f"Expected '{path}' in layer {index} as architecture row '{row.name}' says; "
            f"{type(root).__name__} has none. Correct the row in brodmann/models/architectures.py."
        )
    return module
