"""A tiny Llama that knows one fact in one layer: what tracing must find in it is known.

The subject is two characters, "xQ". Four residual dimensions are kept free of all else:

0. "x" is here (its embedding);
1. "Q" is here (its embedding);
2. "x" was read: the attention of the fact's layer brings dimension 0 to every later token;
3. the fact: at "Q" one neuron of the fact's layer reads dimensions 1 and 2, and writes it.

The attention of the layer above brings dimension 3 to the last token as the target's direction.
So the state at "Q" holds the fact behind the fact's layer and no other: below it "x" has not been
read yet, and above it the last token has the answer already.
"""

from dataclasses import dataclass

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from tests.tiny.families import CONTEXT, randomise
from tests.tiny.tokenizers import tiny_tokenizer

SUBJECT, TARGET = "xQ", "7"
WIDTH, NEURONS, HEADS = 32, 48, 4
SIZE, MOVED, WRITTEN, ANSWERED = 4.0, 12.0, 8.0, 40.0


@dataclass(frozen=True)
class PlantedFact:
    """The model, its tokenizer, and where the fact is."""

    hf: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    layer: int
    neuron: int
    prompt: str
    subject: str = SUBJECT
    answer: str = TARGET


@torch.no_grad()
def planted_fact(layer: int, n_layers: int = 5, neuron: int = 11, seed: int = 0) -> PlantedFact:
    """A model that answers ``TARGET`` where the prompt's subject is ``SUBJECT``.

    Args:
        layer: of the neuron that looks the fact up; below the last.
        n_layers: of the model.
        neuron: which one.
        seed: of all other weights, which are random and small.
    """
    tokenizer = tiny_tokenizer()
    model = _base(len(tokenizer), n_layers, seed)
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    first, last, target = tokenizer.convert_tokens_to_ids([*SUBJECT, TARGET])
    embedding[:, :4], head[:, :4] = 0, 0
    embedding[first, 0] = embedding[last, 1] = SIZE
    for block in model.model.layers:
        block.self_attn.o_proj.weight[:4] = 0
        block.mlp.down_proj.weight[:4] = 0
    direction = head[target] / head[target].norm()
    _move(model.model.layers[layer].self_attn, {0: (MOVED, torch.eye(WIDTH)[2])})
    _look_up(model.model.layers[layer].mlp, neuron)
    _move(model.model.layers[layer + 1].self_attn, {3: (ANSWERED, direction)})
    return PlantedFact(model, tokenizer, layer, neuron, f"a {SUBJECT} is")


def _base(vocabulary: int, n_layers: int, seed: int) -> PreTrainedModel:
    config = AutoConfig.for_model(
        "llama",
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=n_layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
        bos_token_id=None,
        pad_token_id=tiny_tokenizer().pad_token_id,
        eos_token_id=tiny_tokenizer().eos_token_id,
    )
    with torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(config).eval()
    randomise(model, seed, std=0.05)
    model.get_input_embeddings().weight.data.mul_(6)
    model.get_output_embeddings().weight.data.mul_(10)
    return model


def _move(attention, moves) -> None:
    """The first head looks at all tokens alike; it reads dimensions and writes vectors."""
    size = WIDTH // HEADS
    attention.q_proj.weight[:size] = 0
    attention.v_proj.weight[:size] = 0
    attention.o_proj.weight[:, :size] = 0
    for slot, (read, (scale, written)) in enumerate(moves.items()):
        attention.v_proj.weight[slot, read] = 1
        attention.o_proj.weight[:, slot] = scale * written


def _look_up(mlp, neuron: int) -> None:
    """silu(dimension 2) * dimension 1, into dimension 3."""
    mlp.gate_proj.weight[neuron] = 0
    mlp.up_proj.weight[neuron] = 0
    mlp.gate_proj.weight[neuron, 2] = mlp.up_proj.weight[neuron, 1] = 1
    mlp.down_proj.weight[:, neuron] = 0
    mlp.down_proj.weight[3, neuron] = WRITTEN
