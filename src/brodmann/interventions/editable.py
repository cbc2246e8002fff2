"""The down projections whose weights can be changed, and one line for those that cannot."""

from torch import Tensor, nn

from brodmann.errors import ModelError
from brodmann.models.language_model import LanguageModel
from brodmann.models.sites import DenseSite, ExpertSite, NeuronSite


def down_weight(site: NeuronSite) -> Tensor:
    """The parameter itself: [out, in], Conv1D [in, out], experts stacked."""
    if isinstance(site, ExpertSite):
        return site.experts.down_proj
    assert isinstance(site, DenseSite)
    return site.down.get_parameter("weight")


def is_transposed(site: NeuronSite) -> bool:
    """Conv1D (GPT-2) keeps [in, out]; every linear layer keeps [out, in]."""
    return isinstance(site, DenseSite) and not isinstance(site.down, nn.Linear)


def check_editable(model: LanguageModel) -> None:
    """Refuse weights that cannot be changed.

    Raises:
        ModelError: packed by quantisation, wrapped by an adapter, kept off the device, or shared
            between layers.
    """
    if hasattr(model.hf, "peft_config"):
        raise ModelError(
            "Expected a model without adapters to change its weights; merge them first "
            "(model.merge_and_unload()) and load the result."
        )
    if any(site.quantised for site in model.sites):
        raise ModelError(
            f"'{model.name}' keeps its down projections packed ({model.quantisation}), so that "
            "they cannot be changed; load the full-precision model (erased() and scaled() need no "
            "change of weights)."
        )
    weights = [down_weight(site) for site in model.sites]
    if any(weight.is_meta for weight in weights):
        raise ModelError(
            "Expected all weights in memory to change them; some are offloaded by device_map. "
            "Load the model with device='cpu'."
        )
    if len({weight.data_ptr() for weight in weights}) < len(weights):
        raise ModelError(
            "Expected a down projection of its own in each layer; two layers share one, so that "
            "a change of one would change both (erased() and scaled() need no change of weights)."
        )
