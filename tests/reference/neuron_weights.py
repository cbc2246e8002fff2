"""Which numbers of a model are a neuron's own, by hand; and NeFT's score of it, by the formula.

Independent of the package's sites: modules are found by their names, one neuron at a time.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

INWARD = ("gate_up_proj", "up_proj", "gate_proj", "c_fc", "fc1", "fc_in", "dense_h_to_4h")
DOWN = ("down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h")


def own_masks(
    hf: nn.Module, neurons: Iterable[tuple[int, int]], *, biases: bool = True
) -> dict[str, Tensor]:
    """Parameter name -> True where a number belongs to one of the (layer, neuron) pairs."""
    masks: dict[str, Tensor] = {}
    names = {id(parameter): name for name, parameter in hf.named_parameters()}

    def mark(parameter: Tensor, *place: object) -> None:
        mask = masks.setdefault(
            names[id(parameter)], torch.zeros(parameter.shape, dtype=torch.bool)
        )
        mask[place] = True

    for layer, neuron in neurons:
        mlp = _mlp(hf, layer)
        if hasattr(mlp, "experts"):
            width = mlp.experts.down_proj.shape[2]
            expert, j = divmod(neuron, width)
            mark(mlp.experts.gate_up_proj, expert, j)
            mark(mlp.experts.gate_up_proj, expert, width + j)
            mark(mlp.experts.down_proj, expert, slice(None), j)
            continue
        down = next(getattr(mlp, name) for name in DOWN if hasattr(mlp, name))
        n = down.weight.shape[0] if isinstance(down, Conv1D) else down.weight.shape[1]
        for module in (getattr(mlp, name) for name in INWARD if hasattr(mlp, name)):
            for row in (neuron, n + neuron) if hasattr(mlp, "gate_up_proj") else (neuron,):
                if isinstance(module, Conv1D):
                    mark(module.weight, slice(None), row)
                else:
                    mark(module.weight, row)
                if biases and module.bias is not None:
                    mark(module.bias, row)
        if isinstance(down, Conv1D):
            mark(down.weight, neuron)
        else:
            mark(down.weight, slice(None), neuron)
    return masks


def neft_reference(before: nn.Module, after: nn.Module, layer: int, neuron: int) -> float:
    """1 - cosine of the neuron's weights before and after, in float64."""
    masks = own_masks(before, [(layer, neuron)], biases=False)
    old, new = (
        torch.cat([dict(model.named_parameters())[name][mask] for name, mask in masks.items()])
        .detach()
        .double()
        for model in (before, after)
    )
    return float(1 - old @ new / (old.norm() * new.norm()))


def _mlp(hf: nn.Module, layer: int) -> nn.Module:
    decoder = hf.get_decoder()
    layers = next(getattr(decoder, n) for n in ("layers", "h", "blocks") if hasattr(decoder, n))
    block = layers[layer]
    return getattr(block, "mlp", None) or getattr(block, "ffn", None) or block
