"""`load_model`: open a model by name, folder, GGUF file or from memory, and prove where it is.

One function serves every source; what comes out has passed :mod:`brodmann.models.selfcheck`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from brodmann.errors import InputError, ModelError
from brodmann.models.architectures import Architecture, find_architecture, submodule
from brodmann.models.bundled import BUNDLED, fetch
from brodmann.models.fingerprint import fingerprint
from brodmann.models.gguf import load_gguf, quantisation_of
from brodmann.models.language_model import LanguageModel
from brodmann.models.selfcheck import check_model
from brodmann.models.sites import DenseSite, ExpertSite, NeuronSite
from brodmann.models.weights import base_layer

_DTYPES = ("float32", "float64", "bfloat16", "float16")


def load_model(
    name_or_model: str | Path | nn.Module,
    tokenizer: PreTrainedTokenizerBase | None = None,
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | None = None,
    device_map: str | dict[str, Any] | None = None,
    *,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Open a causal language model and find its neurons.

    Args:
        name_or_model: a bundled name (``brodmann models`` lists them), a folder, a ``.gguf``
            file, a hub id, or a Hugging Face model in memory (then give its tokenizer). A path
            that exists wins over a name.
        tokenizer: the tokenizer of a model in memory; otherwise the model's own.
        dtype: the floating-point type to load in; by default the checkpoint's.
        device: where to put the model; by default the first GPU, else the CPU.
        device_map: accelerate's placement (``"auto"``), instead of ``device``.
        trust_remote_code: run code that comes with a hub model.

    Returns:
        The model in eval mode with its neuron sites, self-checked.

    Raises:
        ModelError: the model cannot be found, read or supported, or fails its self-check.
        InputError: arguments that do not go together.
    """
    if isinstance(name_or_model, nn.Module):
        return _wrap_in_memory(name_or_model, tokenizer, dtype, device, device_map)
    if device is not None and device_map is not None:
        raise InputError("Expected device or device_map, got both: leave one out.")
    folder, quantisation = _locate(str(name_or_model))
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    hf = _read_model(folder, _as_dtype(dtype), device_map, options)
    if device_map is None:
        place = torch.device(device) if device is not None else _default_device()
        nn.Module.to(hf, place)
    own = tokenizer if tokenizer is not None else _read_tokenizer(folder, options)
    return wrap_model(hf, own, name=str(name_or_model), quantisation=quantisation)


def wrap_model(
    hf: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    quantisation: str | None = None,
) -> LanguageModel:
    """Find the neurons of a model in memory (a PreTrainedModel or a PeftModel) and prove them.

    Raises:
        ModelError: an unsupported family, a compiled or sharded model, a failed self-check.
    """
    _refuse_what_hides_hooks(hf)
    hf.eval()
    row = find_architecture(hf.config.model_type, hf.get_decoder())
    model = LanguageModel(
        hf=hf,
        tokenizer=tokenizer,
        name=name,
        architecture=row,
        sites=_sites(hf, row),
        fingerprint=fingerprint(hf),
        quantisation=quantisation or _runtime_quantisation(hf),
    )
    check_model(model)
    return model


def _wrap_in_memory(
    hf: Any,
    tokenizer: PreTrainedTokenizerBase | None,
    dtype: torch.dtype | str | None,
    device: torch.device | str | None,
    device_map: object,
) -> LanguageModel:
    if tokenizer is None:
        raise InputError(
            "Expected the tokenizer of the model in memory; write load_model(model, tokenizer)."
        )
    if dtype is not None or device is not None or device_map is not None:
        raise InputError(
            "A model in memory keeps its dtype and device: move it before load_model, and leave "
            "dtype, device and device_map out."
        )
    name = str(getattr(hf.config, "_name_or_path", "") or type(hf).__name__)
    return wrap_model(hf, tokenizer, name=name)


def _locate(name: str) -> tuple[str, str | None]:
    """The folder or hub id to read from, and the quantisation where it is known."""
    path = Path(name).expanduser()
    if path.is_dir() and not (path / "config.json").exists():
        raise ModelError(f"Expected a model folder with config.json; '{path}' has none.")
    if path.is_dir():
        return str(path), quantisation_of(path)
    if path.is_file() and path.suffix.lower() == ".gguf":
        folder = load_gguf(path)
    elif path.exists():
        raise ModelError(f"Expected a model folder or a .gguf file; '{path}' is neither.")
    elif name in BUNDLED:
        folder = fetch(name)
    elif path.suffix.lower() == ".gguf" or name.startswith((".", "/", "~")):
        raise ModelError(f"Expected a model folder or file; '{path}' does not exist.")
    else:
        return name, None
    return str(folder), quantisation_of(folder)


def _read_model(
    source: str, dtype: torch.dtype | str, device_map: object, options: dict[str, Any]
) -> PreTrainedModel:
    try:
        config = AutoConfig.from_pretrained(source, **options)
        if config.is_encoder_decoder:
            raise ModelError(
                f"Expected a decoder-only language model; '{source}' is an encoder-decoder."
            )
        return AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype=dtype, device_map=device_map, use_safetensors=True,
            **options,
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(_not_loaded(source, error)) from error


def _read_tokenizer(source: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(_not_loaded(source, error)) from error
    if tokenizer is None:
        raise ModelError(f"Expected a tokenizer beside '{source}'; it has none.")
    return tokenizer


def _not_loaded(source: str, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    known = ", ".join(sorted(BUNDLED))
    return (
        f"Expected a bundled name ({known}), a folder, a .gguf file or a hub id that can be "
        f"loaded; '{source}' cannot: {first}"
    )


def _as_dtype(dtype: torch.dtype | str | None) -> torch.dtype | str:
    if dtype is None:
        return "auto"
    if isinstance(dtype, str):
        if dtype not in _DTYPES:
            raise InputError(f"Expected a dtype out of {', '.join(_DTYPES)}; got '{dtype}'.")
        return getattr(torch, dtype)
    return dtype


def _default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _refuse_what_hides_hooks(hf: nn.Module) -> None:
    if hasattr(hf, "_orig_mod") or any(
        getattr(module, "_compiled_call_impl", None) is not None for module in hf.modules()
    ):
        raise ModelError(
            "Expected a model before torch.compile (hooks on a compiled model are ignored "
            "silently); give load_model the uncompiled model."
        )
    if (getattr(hf, "tp_size", None) or 1) > 1:
        raise ModelError(
            "Expected a whole model on each device; tensor-parallel models show each process "
            "only a shard of the neurons. Load it with device_map='auto' instead."
        )


def _runtime_quantisation(hf: Any) -> str | None:
    config = getattr(hf.config, "quantization_config", None)
    if config is None or not getattr(hf, "is_quantized", False):
        return None
    method = getattr(config, "quant_method", "quantised")
    return str(getattr(method, "value", method))


def _sites(hf: Any, row: Architecture) -> tuple[NeuronSite, ...]:
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
