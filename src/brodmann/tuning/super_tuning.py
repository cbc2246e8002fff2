"""Super-Tuning (arXiv 2607.09287): as many single weights as wished, chosen by their size."""

from peft import SupertuningConfig

from brodmann.errors import InputError, ModelError
from brodmann.models.language_model import LanguageModel
from brodmann.models.weights import is_quantised
from brodmann.tuning.dense_modules import dense_modules
from brodmann.tuning.prepared import Prepared, check_no_adapters, with_adapter


def prepare_super(model: LanguageModel, n_parameters: int) -> Prepared:
    """Prepare to train PEFT's Super-Tuning on gate, up and down of the dense MLPs.

    Each projection trains the same fraction of its weights: those of the largest magnitude.

    Args:
        model: the model; the adapter is put into it.
        n_parameters: about how many weights to train in all, as other methods do; each projection
            rounds its own number down.

    Raises:
        InputError: fewer than one weight of each projection, or more than there are.
        ModelError: adapters already, no dense MLP, projections other than linear layers, or
            packed weights.
    """
    check_no_adapters(model)
    modules = dense_modules(model)
    if modules.conv1d:
        raise ModelError(
            f"Expected linear layers in the MLPs of '{model.name}'; PEFT has no Super-Tuning for "
            "its Conv1D layers. Compare with method 'lora'."
        )
    projections = [model.hf.get_submodule(name) for name in modules.names]
    if any(is_quantised(projection) for projection in projections):
        raise ModelError(
            f"Expected weights in floating point to choose by size; '{model.name}' keeps them "
            "packed. Load the full-precision model."
        )
    sizes = [projection.get_parameter("weight").numel() for projection in projections]
    # The fraction is a float: half a weight more keeps PEFT from rounding a whole number down.
    fraction = (n_parameters + 0.5) / sum(sizes)
    if n_parameters > sum(sizes) or fraction * min(sizes) < 1:
        fewest = -(-sum(sizes) // min(sizes))
        raise InputError(
            f"Expected {fewest:,} to {sum(sizes):,} weights to train, at least one in each "
            f"projection; got {n_parameters:,}."
        )
    config = SupertuningConfig(
        task_type="CAUSAL_LM",
        target_modules=list(modules.names),
        sparsity=max(1 - fraction, 0.0),
    )
    return with_adapter(model, config, modules.note)
