"""Tiny models with planted neurons: what a localiser must find in them is known.

Each capability has a trigger character, which ends its prompts, and a target character, which is
the answer. Residual dimensions 0 and 1 hold "the last token is the trigger of capability 0 (1)";
only the embeddings of the triggers write there. A planted neuron reads its trigger's dimension
and writes the target's unembedding direction; every other neuron is random and writes little.
The columns are calibrated so that, averaged over the examples, all planted neurons of a
capability add the same amount. After a target comes the end of text.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tests.tiny.families import CONTEXT, randomise
from tests.tiny.tokenizers import tiny_tokenizer

Pair = tuple[int, int]
Kind = Literal["gated", "plain", "post_norm"]

MODEL_TYPES = {"gated": "llama", "plain": "starcoder2", "post_norm": "olmo2"}
TRIGGERS, TARGETS = ("=", "?"), ("7", "k")
TRIGGER_SIZE, WRITTEN, UNEMBEDDING_NORM, THRESHOLD = 6.0, 8.0, 3.0, 6.0


@dataclass(frozen=True)
class Planted:
    """A planted model.

    Attributes:
        hf: the Hugging Face model.
        tokenizer: its tokenizer (characters, no BOS).
        planted: the (layer, neuron) pairs that write "7" after "=", sorted.
        examples: (prompt, delimiter, answer) of that capability.
        other: the pairs that write "k" after "?", sorted.
        other_examples: its examples.
        common: pairs that write both targets after either trigger, sorted.
        neutral: texts without a trigger; no planted neuron fires on them.
    """

    hf: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    planted: tuple[Pair, ...]
    examples: tuple[tuple[str, str, str], ...]
    other: tuple[Pair, ...]
    other_examples: tuple[tuple[str, str, str], ...]
    common: tuple[Pair, ...]
    neutral: tuple[str, ...]


def planted_model(
    n_layers: int = 3,
    width: int = 32,
    n_neurons: int = 48,
    planted: Sequence[Pair] = ((0, 5), (1, 17), (2, 40)),
    *,
    other: Sequence[Pair] = (),
    common: Sequence[Pair] = (),
    kind: Kind = "gated",
    n_examples: int = 24,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Planted:
    """A tiny model in which ``planted`` (and no other neuron) turns a final "=" into "7".

    ``kind``: ``gated`` (Llama), ``plain`` (StarCoder2: up and down with biases) or ``post_norm``
    (OLMo 2: gated, MLP output normalised). ``other`` likewise turns "?" into "k"; ``common``
    helps both. For sigma=6 to fire, ask for at least 100 neurons for each planted one.
    """
    tokenizer = tiny_tokenizer()
    model = _random_base(kind, len(tokenizer), (n_layers, width, n_neurons), dtype, seed)
    examples = [_examples(capability, n_examples, seed) for capability in (0, 1)]
    roles = {(0,): sorted(planted), (1,): sorted(other), (0, 1): sorted(common)}
    _wire_vocabulary(model, tokenizer)
    for reads, pairs in roles.items():
        for layer, neuron in pairs:
            _wire_neuron(model.model.layers[layer].mlp, neuron, reads)
    for layer in range(n_layers):
        _calibrate(model, tokenizer, layer, roles, examples)
    return Planted(
        model,
        tokenizer,
        tuple(roles[0,]),
        tuple(examples[0]),
        tuple(roles[1,]),
        tuple(examples[1]),
        tuple(roles[0, 1]),
        tuple(_words(random.Random(seed + 100), n_examples)),
    )


def _random_base(
    kind: Kind, vocabulary: int, sizes: tuple[int, int, int], dtype: torch.dtype, seed: int
) -> PreTrainedModel:
    n_layers, width, n_neurons = sizes
    config = AutoConfig.for_model(
        MODEL_TYPES[kind],
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=n_neurons,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
    )
    tokenizer = tiny_tokenizer()
    config.bos_token_id, config.eos_token_id = None, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    with torch.random.fork_rng():
        model = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    randomise(model, seed, std=0.1)
    return model


@torch.no_grad()
def _wire_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Triggers write dimensions 0 and 1, which nothing else writes and the head does not read."""
    for layer in model.model.layers:
        for writer in (layer.self_attn.o_proj, _down(layer.mlp)):
            writer.weight[:2] = 0
            if writer.bias is not None:
                writer.bias[:2] = 0
        _down(layer.mlp).weight *= 0.2
        if hasattr(layer, "post_attention_layernorm") and _is_post_norm(layer):
            layer.post_attention_layernorm.weight *= 0.1
    embedding = model.get_input_embeddings().weight
    embedding *= 3
    embedding[:, :2] = 0
    head = model.get_output_embeddings().weight
    special = [*tokenizer.convert_tokens_to_ids(list(TARGETS)), tokenizer.eos_token_id]
    head[:, :2] = 0
    basis = torch.linalg.qr(head[special].double().T).Q.to(head.dtype)
    head -= head @ basis @ basis.T
    head *= UNEMBEDDING_NORM / head.norm(dim=1, keepdim=True)
    head[special] = UNEMBEDDING_NORM * basis.T
    for capability, trigger in enumerate(tokenizer.convert_tokens_to_ids(list(TRIGGERS))):
        embedding[trigger] *= 0.1
        embedding[trigger, capability] = TRIGGER_SIZE
        embedding[special[capability]] = TRIGGER_SIZE * basis[:, 2]


@torch.no_grad()
def _wire_neuron(mlp: nn.Module, neuron: int, reads: Sequence[int]) -> None:
    """The neuron is off unless the last token is one of the triggers it reads."""
    for row in _input_rows(mlp, neuron):
        row.zero_()
        row[list(reads)] = 1.0 if hasattr(mlp, "gate_proj") else THRESHOLD
    if not hasattr(mlp, "gate_proj"):
        mlp.c_fc.bias[neuron] = -THRESHOLD


@torch.no_grad()
def _calibrate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    layer: int,
    roles: dict[tuple[int, ...], list[Pair]],
    examples: list[list[tuple[str, str, str]]],
) -> None:
    """Sets the columns of one layer so that each planted neuron adds the same amount."""
    block = model.model.layers[layer]
    head = model.get_output_embeddings().weight / UNEMBEDDING_NORM
    fired = [_last_activations(model, tokenizer, block.mlp, texts) for texts in examples]
    here = 0
    for reads, pairs in roles.items():
        for neuron in (neuron for at, neuron in pairs if at == layer):
            here += 1
            targets = tokenizer.convert_tokens_to_ids([TARGETS[c] for c in reads])
            size = (
                WRITTEN / max(len(pairs), 1) / torch.stack([fired[c][neuron] for c in reads]).mean()
            )
            _down(block.mlp).weight[:, neuron] = size * head[targets].sum(0)
    if _is_post_norm(block):
        gain = block.post_feedforward_layernorm.weight
        gain *= 0.05 if here == 0 else here * WRITTEN / len(roles[0,]) / gain.numel() ** 0.5


def _last_activations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    mlp: nn.Module,
    texts: list[tuple[str, str, str]],
) -> Tensor:
    """Mean activation of each neuron at the last token of the prompts. Shape [n]."""
    seen: list[Tensor] = []
    hook = _down(mlp).register_forward_pre_hook(lambda _, args: seen.append(args[0][0, -1]))
    for prompt, delimiter, _ in texts:
        model(input_ids=tokenizer(prompt + delimiter, return_tensors="pt")["input_ids"])
    hook.remove()
    return torch.stack(seen).mean(0)


def _examples(capability: int, count: int, seed: int) -> list[tuple[str, str, str]]:
    words = _words(random.Random(seed + capability), count)
    return [(word + TRIGGERS[capability], "", TARGETS[capability]) for word in words]


def _words(generator: random.Random, count: int) -> list[str]:
    letters = "abcdefghij xyz"
    lengths = [generator.randrange(2, 10) for _ in range(count)]
    return ["".join(generator.choices(letters, k=length)) for length in lengths]


def _down(mlp: nn.Module) -> nn.Linear:
    return mlp.down_proj if hasattr(mlp, "down_proj") else mlp.c_proj


def _input_rows(mlp: nn.Module, neuron: int) -> list[Tensor]:
    modules = [mlp.gate_proj, mlp.up_proj] if hasattr(mlp, "gate_proj") else [mlp.c_fc]
    return [module.weight[neuron] for module in modules]


def _is_post_norm(layer: nn.Module) -> bool:
    return hasattr(layer, "post_feedforward_layernorm")
