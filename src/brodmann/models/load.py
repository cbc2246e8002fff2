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
from brodmann.launch import number_on_machine, process_count, wants_cpu
from brodmann.models.architectures import find_architecture
from brodmann.models.bundled import bundled_names, fetch
from brodmann.models.find_sites import find_sites
from brodmann.models.fingerprint import fingerprint
from brodmann.models.gguf import load_gguf, quantisation_of
from brodmann.models.language_model import LanguageModel
from brodmann.models.selfcheck import check_model

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
            file, a hub id, or a Hugging Face model in memory (then give its tokenizer). A
            model at a path wins over a name; a folder of results that is called so does not.
        tokenizer: the tokenizer of a model in memory; otherwise the model's own.
        dtype: the floating-point type to load in; by default the checkpoint's.
        device: where to put the model; by default the first GPU (of several processes that a
            launcher started each takes its own), else the CPU.
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
    model = _open(str(name_or_model), tokenizer, dtype, device, device_map, trust_remote_code)
    check_model(model)
    return model


def open_unchecked(
    name: str, dtype: torch.dtype | str | None = None, device: torch.device | str | None = None
) -> LanguageModel:
    """Open a model as :func:`load_model` does, without its self-check: for ``brodmann verify``.

    Raises:
        ModelError: the model cannot be found, read or supported.
    """
    if device == "auto":
        return _open(name, None, dtype, None, "auto", False)
    return _open(name, None, dtype, device, None, False)


def _open(
    name: str,
    tokenizer: PreTrainedTokenizerBase | None,
    dtype: torch.dtype | str | None,
    device: torch.device | str | None,
    device_map: str | dict[str, Any] | None,
    trust_remote_code: bool,
) -> LanguageModel:
    folder, quantisation = _locate(name)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    hf = _read_model(folder, _as_dtype(dtype), device_map, options)
    if device_map is None:
        place = torch.device(device) if device is not None else _default_device()
        nn.Module.to(hf, place)
    own = tokenizer if tokenizer is not None else _read_tokenizer(folder, options)
    return _found(hf, own, name=name, quantisation=quantisation)


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
    model = _found(hf, tokenizer, name=name, quantisation=quantisation)
    check_model(model)
    return model


def _found(
    hf: Any, tokenizer: PreTrainedTokenizerBase, *, name: str, quantisation: str | None
) -> LanguageModel:
    """The model with its neuron sites, not yet checked."""
    _refuse_what_hides_hooks(hf)
    hf.eval()
    row = find_architecture(hf.config.model_type, hf.get_decoder())
    return LanguageModel(
        hf=hf,
        tokenizer=tokenizer,
        name=name,
        architecture=row,
        sites=find_sites(hf, row),
        fingerprint=fingerprint(hf),
        quantisation=quantisation or _runtime_quantisation(hf),
    )


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
    if (path / "config.json").exists():
        return str(path), quantisation_of(path)
    if path.is_file() and path.suffix.lower() == ".gguf":
        folder = load_gguf(path)
    elif name in bundled_names():
        folder = fetch(name)
    elif path.is_dir():
        raise ModelError(f"Expected a model folder with config.json; '{path}' has none.")
    elif path.exists():
        raise ModelError(f"Expected a model folder or a .gguf file; '{path}' is neither.")
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
    known = ", ".join(sorted(bundled_names()))
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
    if wants_cpu() or not torch.cuda.is_available():
        return torch.device("cpu")
    if process_count() > 1:
        return torch.device("cuda", number_on_machine())
    return torch.device("cuda")


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
