"""A tiny model whose answer runs over two edges: embedding -> values of one head -> logits."""

import torch

from brodmann.data import Example
from brodmann.models.load import wrap_model
from tests.tiny.families import tiny_model

HEAD, KEY_HEAD, WIDTH, SIZE = 1, 0, 32, 8


@torch.no_grad()
def planted_circuit():
    """The model, an example, and its two edges.

    Head 1 of layer 0 attends evenly, reads the embedding's dimension 0 (the character "k" alone
    has it), and writes the direction that unembeds to "7". All other components write almost
    nothing, and the last token's embedding is small.
    """
    hf, tokenizer = tiny_model("llama")
    subject, answer = tokenizer.convert_tokens_to_ids(["k", "7"])
    for index, layer in enumerate(hf.model.layers):
        layer.self_attn.o_proj.weight *= 1e-4
        layer.mlp.down_proj.weight *= 1e-4
        if index == 0:
            layer.self_attn.q_proj.weight.zero_()
            v, o = layer.self_attn.v_proj.weight, layer.self_attn.o_proj.weight
            v[KEY_HEAD * SIZE : (KEY_HEAD + 1) * SIZE] = 0
            v[KEY_HEAD * SIZE, 0] = 1
            o[:, HEAD * SIZE] = 0
            o[1, HEAD * SIZE] = 5
    for norm in [m for name, m in hf.named_modules() if name.endswith("norm")]:
        norm.weight.fill_(1)
    embedding, head = hf.get_input_embeddings().weight, hf.get_output_embeddings().weight
    embedding *= 1e-3
    embedding[:, :2] = 0
    embedding[subject, 0] = 1
    head *= 0.01
    head[answer] = 0
    head[answer, 1] = 2
    model = wrap_model(hf, tokenizer, name="planted-circuit")
    edges = [("embedding", f"a0.v{KEY_HEAD}"), (f"a0.h{HEAD}", "logits")]
    return model, Example("ka", "7", ""), edges
