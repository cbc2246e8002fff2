"""Tiny random causal LMs of every supported family, built from configs without any download."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tests.tiny.tokenizers import tiny_tokenizer

LAYERS, WIDTH, NEURONS, HEADS, KV_HEADS, CONTEXT = 3, 32, 48, 4, 2, 256

COMMON = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": NEURONS,
    "max_position_embeddings": CONTEXT,
}
GROUPED = COMMON | {"num_key_value_heads": KV_HEADS}
HEAD_DIM = {"head_dim": WIDTH // HEADS}
GPT = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT}
NO_DROPOUT = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
EXPERTS = {"num_experts_per_tok": 2}


@dataclass(frozen=True)
class Family:
    """How one tiny model is made: HF's model type, its config, its tokenizer's arguments."""

    model_type: str
    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any] = field(default_factory=dict)


def _local_global(*types: str) -> dict[str, Any]:
    names = {"local": "sliding_attention", "global": "full_attention"}
    return {"sliding_window": 6, "layer_types": [names[t] for t in types]}


_ALTERNATING = _local_global("local", "global", "local")
_BYTES = {"kind": "bytes"}
_LEFT_BOS = {"bos": True, "padding_side": "left"}

FAMILIES: dict[str, Family] = {
    "llama": Family("llama", GROUPED, {"bos": True, "pad": False}),
    "llama_bias": Family("llama", GROUPED | {"mlp_bias": True, "attention_bias": True}),
    "mistral": Family("mistral", GROUPED | {"sliding_window": 6}, {"bos": True}),
    "qwen2": Family("qwen2", GROUPED, _BYTES),
    "qwen3": Family("qwen3", GROUPED | HEAD_DIM, _BYTES | {"padding_side": "left"}),
    "gemma": Family("gemma", GROUPED | HEAD_DIM, _LEFT_BOS),
    "gemma2": Family(
        "gemma2",
        GROUPED
        | HEAD_DIM
        | _ALTERNATING
        | {
            "query_pre_attn_scalar": 8,
            "final_logit_softcapping": 10.0,
            "attn_logit_softcapping": 20.0,
        },
        _LEFT_BOS,
    ),
    "gemma3_text": Family(
        "gemma3_text",
        GROUPED
        | HEAD_DIM
        | _local_global("local", "local", "global")
        | {"query_pre_attn_scalar": 8},
        _LEFT_BOS,
    ),
    "phi": Family("phi", COMMON | {"partial_rotary_factor": 0.5}, _BYTES | {"pad": False}),
    "phi3": Family("phi3", GROUPED | {"sliding_window": 6}, {"bos": True, "padding_side": "left"}),
    "gpt2": Family("gpt2", GPT | NO_DROPOUT | {"n_inner": NEURONS}, _BYTES | {"pad": False}),
    "gptj": Family("gptj", GPT | NO_DROPOUT | {"n_inner": NEURONS, "rotary_dim": 4}, _BYTES),
    "gpt_neox": Family("gpt_neox", COMMON | {"rotary_pct": 0.5}, _BYTES),
    "gpt_neox_sequential": Family(
        "gpt_neox", COMMON | {"rotary_pct": 0.5, "use_parallel_residual": False}, _BYTES
    ),
    "gpt_neo": Family(
        "gpt_neo",
        {
            "hidden_size": WIDTH,
            "num_layers": LAYERS,
            "num_heads": HEADS,
            "intermediate_size": NEURONS,
            "max_position_embeddings": CONTEXT,
            "attention_types": [[["global", "local"], 1], [["global"], 1]],
            "window_size": 6,
        },
        _BYTES | {"padding_side": "left"},
    ),
    "opt": Family(
        "opt",
        {
            "hidden_size": WIDTH,
            "word_embed_proj_dim": WIDTH,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "ffn_dim": NEURONS,
            "max_position_embeddings": CONTEXT,
        },
        {"bos": True},
    ),
    "bloom": Family(
        "bloom",
        {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
        {"padding_side": "left"},
    ),
    "falcon": Family(
        "falcon",
        COMMON | {"ffn_hidden_size": NEURONS, "multi_query": True, "bias": True},
        _BYTES,
    ),
    "falcon_new": Family(
        "falcon",
        COMMON
        | {"ffn_hidden_size": NEURONS, "new_decoder_architecture": True, "num_kv_heads": KV_HEADS},
        _BYTES,
    ),
    "mpt": Family(
        "mpt",
        {
            "d_model": WIDTH,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "expansion_ratio": 2,
            "max_seq_len": CONTEXT,
        },
        {"padding_side": "left"},
    ),
    "olmo": Family("olmo", GROUPED, _BYTES),
    "olmo2": Family("olmo2", GROUPED, _BYTES),
    "olmo3": Family("olmo3", GROUPED | _ALTERNATING, _BYTES),
    "stablelm": Family("stablelm", GROUPED | {"partial_rotary_factor": 0.5}),
    "stablelm_parallel": Family(
        "stablelm", GROUPED | {"partial_rotary_factor": 0.5, "use_parallel_residual": True}
    ),
    "granite": Family(
        "granite",
        GROUPED
        | {
            "residual_multiplier": 0.5,
            "logits_scaling": 2.0,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.25,
        },
        _BYTES,
    ),
    "cohere": Family("cohere", GROUPED | {"logit_scale": 0.5}, _LEFT_BOS),
    "cohere2": Family(
        "cohere2", GROUPED | HEAD_DIM | _ALTERNATING | {"logit_scale": 0.5}, _LEFT_BOS
    ),
    "starcoder2": Family("starcoder2", GROUPED | {"sliding_window": 6}, _BYTES),
    "smollm3": Family("smollm3", GROUPED | {"no_rope_layers": [1, 0, 1]}),
    "glm4": Family("glm4", GROUPED | HEAD_DIM | {"partial_rotary_factor": 0.5}),
    "nemotron": Family("nemotron", GROUPED | HEAD_DIM | {"partial_rotary_factor": 0.5}),
    "mixtral": Family(
        "mixtral", GROUPED | EXPERTS | {"intermediate_size": 16, "num_local_experts": 4}
    ),
    "qwen3_moe": Family(
        "qwen3_moe",
        GROUPED
        | HEAD_DIM
        | EXPERTS
        | {
            "num_experts": 4,
            "moe_intermediate_size": 16,
            "mlp_only_layers": [1],
            "decoder_sparse_step": 1,
        },
        _BYTES,
    ),
}

TINY_FAMILIES: tuple[str, ...] = tuple(FAMILIES)
"""Every tiny family, variants included."""

MOE_FAMILIES: tuple[str, ...] = ("mixtral", "qwen3_moe")
"""Families whose MLPs (or some of them) are mixtures of experts."""

POST_NORM_FAMILIES: tuple[str, ...] = ("gemma2", "gemma3_text", "olmo2", "olmo3", "glm4")
"""Families that normalise the MLP's output before it is added to the residual stream."""

FLOAT32_INSIDE: frozenset[str] = frozenset({
    "llama", "llama_bias", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3",
    "olmo", "olmo2", "olmo3", "granite", "cohere", "cohere2", "smollm3", "glm4", "mixtral",
    "qwen3_moe", "gpt_neo", "bloom", "gptj", "mpt",
})  # fmt: skip
"""Families whose norms, attention weights, rotations or router Hugging Face computes in float32,
even in float64 models."""


def tiny_model(
    name: str, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A tiny random model of a family, and its tokenizer: the caller's own copies.

    Three layers, width 32; 48 neurons a layer (bloom 128, mpt 64, mixtral 4 x 16, qwen3_moe
    64, 48, 64). The weights are the same in every dtype, up to rounding, and large enough that
    norms, biases and soft caps matter.
    """
    tokenizer = tiny_tokenizer(**FAMILIES[name].tokenizer)
    return copy.deepcopy(_built(name, dtype, seed)), tokenizer


def packable_model() -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A tiny llama that 4 bits of bitsandbytes fit on every CPU: 64 wide, 64 neurons a layer.

    Where the CPU has bfloat16 instructions, it wants blocks of 64 inputs and of 32 outputs.
    """
    hf, tokenizer = tiny_model("llama")
    config = copy.deepcopy(hf.config)
    config.update({"hidden_size": 64, "intermediate_size": 64, "head_dim": 16})
    wide = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    randomise(wide, seed=0)
    return wide, tokenizer


@lru_cache(maxsize=256)
def _built(name: str, dtype: torch.dtype, seed: int) -> PreTrainedModel:
    family = FAMILIES[name]
    tokenizer = tiny_tokenizer(**family.tokenizer)
    config = AutoConfig.for_model(
        family.model_type,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **family.config,
    )
    with torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    if name in MOE_FAMILIES and dtype == torch.float64:
        model.set_experts_implementation("eager")  # the default has no float64 kernel
    randomise(model, seed)
    return model


@torch.no_grad()
def randomise(model: PreTrainedModel, seed: int, std: float = 0.25) -> None:
    """Draws every parameter anew, in the order of their names and in float64.

    Matrices: N(0, std). Biases: N(0, 0.1). Gains of norms: their initial value (1, or 0 where
    the family computes 1 + w) + N(0, 0.1).
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        if parameter.ndim >= 2:
            parameter.copy_(std * noise)
        elif name.endswith("bias"):
            parameter.copy_(0.1 * noise)
        else:
            parameter.copy_(parameter.double().round() + 0.1 * noise)
