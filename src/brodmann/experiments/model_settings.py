"""What a result's provenance says of the model."""

from typing import Any

from brodmann.models import LanguageModel


def model_settings(model: LanguageModel) -> dict[str, Any]:
    """Return a model's name, fingerprint, shape, number format and place, in JSON types."""
    return {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "architecture": model.architecture.name,
        "quantisation": model.quantisation,
        "layers": model.n_layers,
        "neurons": model.n_neurons_total,
        "parameters": sum(parameter.numel() for parameter in model.hf.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
    }
