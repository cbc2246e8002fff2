"""`NeuronTuningModel`: put adapters of chosen neurons into a model, as PEFT's tuners do."""

from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner
from torch import Tensor, nn

from brodmann.errors import InputError, MismatchError, ModelError
from brodmann.models.architectures import find_architecture
from brodmann.models.find_sites import find_sites
from brodmann.models.sites import DenseSite, ExpertSite, NeuronSite
from brodmann.tuning.config import NEURON_TUNING, NeuronTuningConfig, overlap
from brodmann.tuning.expert_layers import NeuronTuningExperts
from brodmann.tuning.layers import (
    NeuronTuningLayer,
    NeuronTuningLinear,
    Place,
    overlapping,
)


class NeuronTuningModel(BaseTuner):
    """A model in which projections of the tuned layers carry :class:`NeuronTuningLayer`.

    Made by ``peft.get_peft_model`` from a :class:`NeuronTuningConfig`. Layers without a chosen
    neuron stay as they are, so that no backward pass goes below the lowest tuned one.
    """

    prefix = f"{NEURON_TUNING.lower()}_"  # transformers derives it from the type in this way
    tuner_layer_cls = NeuronTuningLayer
    target_module_mapping = {}  # noqa: RUF012

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """Use one adapter, or several of different neurons.

        Raises:
            InputError: two of them train the same neuron.
        """
        self._check_disjoint([adapter_name] if isinstance(adapter_name, str) else adapter_name)
        super().set_adapter(adapter_name, inference_mode=inference_mode)

    def merge_adapter(
        self, adapter_names: list[str] | None = None, safe_merge: bool = False
    ) -> None:
        """Add adapters to the base weights; ``unmerge_adapter`` takes them out bit for bit.

        Raises:
            ModelError: packed weights.
            InputError: two of the adapters train the same neuron.
        """
        self._check_merge(adapter_names or self.active_adapters, safe_merge)
        super().merge_adapter(adapter_names=adapter_names, safe_merge=safe_merge)

    def _unload_and_optionally_merge(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("merge", True):
            names = kwargs.get("adapter_names") or self.active_adapters
            self._check_merge(names, kwargs.get("safe_merge", False))
        return super()._unload_and_optionally_merge(*args, **kwargs)

    def _check_merge(self, names: list[str], safe_merge: bool) -> None:
        """Before the first weight is changed: a merge that stops half-way would leave a mixture."""
        self._check_disjoint([*self._merged(), *names])
        for layer in self._layers():
            layer.check_merge(names, safe_merge=safe_merge)

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        return peft_config  # what is targeted follows from the model, not from its config

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        self._places = places(model, peft_config)
        peft_config.target_modules = sorted(self._places)

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        place, bias = self._places[current_key], peft_config.train_bias
        if isinstance(target, (NeuronTuningLinear, NeuronTuningExperts)):
            target.add(adapter_name, place, train_bias=bias)
            return
        base: Any = target
        kind = NeuronTuningExperts if hasattr(base, "num_experts") else NeuronTuningLinear
        new = kind(target, adapter_name, place, train_bias=bias)
        if adapter_name not in self.active_adapters:
            new.requires_grad_(False)
        self._replace_module(parent, target_name, new, target)

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        if isinstance(child, NeuronTuningExperts):
            setattr(parent, child_name, new_module)  # PEFT would look for a 'weight' of theirs
        else:
            super()._replace_module(parent, child_name, new_module, child)

    def _layers(self) -> list[NeuronTuningLayer]:
        return [m for m in self.model.modules() if isinstance(m, NeuronTuningLayer)]

    def _merged(self) -> list[str]:
        return list(dict.fromkeys(n for layer in self._layers() for n in layer.merged_adapters))

    def _check_disjoint(self, names: list[str]) -> None:
        own = {n: c for n in names if isinstance(c := self.peft_config.get(n), NeuronTuningConfig)}
        found = overlap(own)
        if found is not None:
            raise InputError(overlapping(*found[:2]))


def places(hf: Any, config: NeuronTuningConfig) -> dict[str, Place]:
    """Find the modules of a config's neurons: their names in the model -> rows or columns.

    Raises:
        InputError: no neurons.
        MismatchError: a layer or a neuron that the model does not have.
        ModelError: a family whose neurons cannot be found.
    """
    if config.n_neurons == 0:
        raise InputError(
            "Expected at least one neuron in NeuronTuningConfig; got none. Make it with "
            "brodmann.neuron_tuning(model, neurons)."
        )
    sites = find_sites(hf, find_architecture(hf.config.model_type, hf.get_decoder()))
    names = {id(module): name for name, module in hf.named_modules()}
    found: dict[str, Place] = {}
    for layer, indices in config.neurons.items():
        site = _site(sites, int(layer), indices)
        for module, place in _parts(site, torch.tensor(indices)):
            name = names[id(module)]
            while name.endswith(".base_layer"):  # another adapter stands around it
                name = name.removesuffix(".base_layer")
            found[name] = place
    return found


def _site(sites: tuple[NeuronSite, ...], layer: int, indices: list[int]) -> NeuronSite:
    if layer >= len(sites):
        raise MismatchError(
            f"Expected neurons in layers 0 to {len(sites) - 1}; got layer {layer}. The set belongs "
            "to another model: locate the neurons on this one."
        )
    if indices[-1] >= sites[layer].n_neurons:
        raise MismatchError(
            f"Expected neurons from 0 to {sites[layer].n_neurons - 1} in layer {layer}; got "
            f"{indices[-1]}. The set belongs to another model: locate the neurons on this one."
        )
    return sites[layer]


def _parts(site: NeuronSite, indices: Tensor) -> list[tuple[nn.Module, Place]]:
    if isinstance(site, ExpertSite):
        if site.quantised:
            raise ModelError(
                f"Expected experts in floating point to tune; layer {site.layer} keeps them "
                "packed. Load the model without quantisation."
            )
        return [(site.experts, Place("row", indices))]
    assert isinstance(site, DenseSite)
    inward = [(module, Place("row", site.rows(module, indices))) for module in site.inward]
    return [*inward, (site.down, Place("column", indices))]
