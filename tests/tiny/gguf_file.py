"""A tiny Llama written as a GGUF file, as llama.cpp's converter would."""

from pathlib import Path

import gguf
import numpy as np
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from tests.tiny.families import GROUPED, randomise
from tests.tiny.tokenizers import MERGES, SPECIALS, tiny_tokenizer

LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OTHER_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def write_tiny_gguf(path: Path, kind: str = "F32", seed: int = 0) -> PreTrainedModel:
    """Write a tiny Llama to ``path`` and return it.

    ``kind``: the ggml type of the matrices whose rows fill whole blocks ("F32", "Q8_0", "Q4_1");
    the down projections (48 wide) stay F32.
    """
    model = _tiny_llama(seed)
    writer = gguf.GGUFWriter(path, "llama")
    _write_config(writer, model, kind)
    _write_tokenizer(writer)
    for name, weight in model.state_dict().items():
        _write_tensor(writer, name, weight.numpy(), model.config, gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _tiny_llama(seed: int) -> PreTrainedModel:
    vocabulary = len(tiny_tokenizer("bytes"))
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **GROUPED)).eval()
    randomise(model, seed)
    return model


def _write_config(writer: gguf.GGUFWriter, model: PreTrainedModel, kind: str) -> None:
    config = model.config
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    prefix = "ALL" if kind == "F32" else "MOSTLY"
    writer.add_file_type(gguf.LlamaFileType[f"{prefix}_{kind}"])


def _write_tokenizer(writer: gguf.GGUFWriter) -> None:
    vocabulary = tiny_tokenizer("bytes").get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in SPECIALS else normal for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in MERGES])
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("</s>"))
    writer.add_pad_token_id(tokens.index("<pad>"))


def _write_tensor(writer, name, weight, config, kind) -> None:
    module = name.removesuffix(".weight")
    if module in OTHER_NAMES:
        target = OTHER_NAMES[module]
    else:
        _, _, layer, rest = module.split(".", 3)
        target = f"blk.{layer}.{LAYER_NAMES[rest]}"
    if module.endswith("q_proj"):
        weight = _halves_to_pairs(weight, config.num_attention_heads)
    if module.endswith("k_proj"):
        weight = _halves_to_pairs(weight, config.num_key_value_heads)
    if weight.ndim == 2 and weight.shape[1] % 32 == 0:
        data = gguf.quants.quantize(weight, kind)
        writer.add_tensor(f"{target}.weight", data, raw_dtype=kind)
    else:
        writer.add_tensor(f"{target}.weight", weight)


def _halves_to_pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """GGUF's rotary embedding turns neighbouring rows, Hugging Face's the two halves."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))
