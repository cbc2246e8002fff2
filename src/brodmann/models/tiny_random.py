"""The bundled model ``tiny-random``: a Llama of random weights that loads in an instant.

``python -m brodmann.models.tiny_random DIR`` writes it. The package holds the file, since random
numbers may differ in their last bits between processors.
"""

import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from brodmann.models.byte_tokenizer import VOCABULARY
from brodmann.models.small_models import save_small_model

LAYERS, WIDTH, NEURONS = 3, 32, 64
LOUD = (5, 23, 41)
"""The neuron of each layer that a sigma rule finds."""

_LOUDER = 6.0
_SOON = 5.0


def tiny_random() -> LlamaForCausalLM:
    """Build the model: normal weights, and one neuron of each layer read and written louder.

    Among 64 numbers without an outlier none is 6 standard deviations from their mean, so that
    without the loud neurons no sigma rule of the papers would select anything. The end of text has
    a longer row than other tokens: an answer ends after some tokens and not where it is cut off.
    """
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        dtype="float32",
    )
    hf = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.ndim == 2:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(noise / parameter.shape[1] ** 0.5)
        for layer, neuron in zip(hf.model.layers, LOUD, strict=True):
            layer.mlp.up_proj.weight[neuron] *= _LOUDER
            layer.mlp.down_proj.weight[:, neuron] *= _LOUDER
        hf.lm_head.weight[config.eos_token_id] *= _SOON
    return hf


if __name__ == "__main__":
    save_small_model(tiny_random(), sys.argv[1])
