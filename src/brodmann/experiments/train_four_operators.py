"""Train the bundled model ``four-operators``: a small Llama that knows + - * and /.

``python -m brodmann.experiments.train_four_operators --out DIR`` writes a folder that
``load_model`` opens, and prints what the model reaches on held-out expressions. It learns from
expressions of the train split (seed 0) alone, and its loss is taken on answers: one line a text
at first, so that it learns to calculate, later several, so that any number of shots works.

Two things help while it is trained and are gone afterwards: digits start as points on circles, so
that neighbours are alike, and a linear reading of the last layer tells the value so far, digit by
digit, behind each number. No neuron is told what to do.
"""

import argparse
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaConfig, LlamaForCausalLM

from brodmann.experiments.muon import Muon
from brodmann.experiments.solved_lines import NONE, Lines, joined, packed, solved_lines
from brodmann.models.byte_tokenizer import VOCABULARY, byte_tokenizer
from brodmann.models.small_models import save_small_model

WIDTH, NEURONS, LAYERS, HEADS = 64, 256, 4, 4
STEPS = 8000
MIXTURE = {1: 0.15, 2: 0.45, 3: 0.25, 4: 0.1, 5: 0.05}
"""By the number of operators: the share of batches."""

PROPOSALS = 60_000
LINES = 96
"""Lines of a batch with one operator; fewer where they are longer."""

MUON_RATE, ADAM_RATE = 1.5e-2, 7e-3
WARM_UP, DECAY_FROM, PACKED_FROM = 40, 0.4, 0.6
VALUE_WEIGHT = 0.5
MOST_TESTED = 200


def new_model(seed: int) -> LlamaForCausalLM:
    """Build the untrained model, its digits as points on circles of four frequencies."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=NEURONS,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        dtype="float32",
    )
    hf = LlamaForCausalLM(config)
    digits = torch.arange(10.0)
    angles = 2 * math.pi / 10 * digits[:, None] * torch.arange(1, 6)
    features = torch.cat([angles.cos(), angles[:, :4].sin(), (digits[:, None] - 4.5) / 2.9], dim=1)
    with torch.no_grad():
        table = hf.model.embed_tokens.weight.normal_(0, 0.1)
        rows = 0.05 * torch.randn(1, WIDTH) + 0.03 * torch.randn(10, WIDTH)
        rows[:, :10] += 0.25 * features
        table[byte_tokenizer().convert_tokens_to_ids([str(digit) for digit in range(10)])] = rows
    return hf


def train(hf: LlamaForCausalLM, steps: int, seed: int) -> None:
    """Train the model in place, and print a line about twenty times."""
    data = {n: solved_lines(n, "train", PROPOSALS) for n in MIXTURE}
    tested = {n: solved_lines(n, "test", 8 * MOST_TESTED) for n in MIXTURE}
    rng = random.Random(seed)
    reader = nn.Linear(WIDTH, 30)
    optimizers = _optimizers(hf, reader)
    schedules = [LambdaLR(optimizer, lambda k: _rate(k, steps)) for optimizer in optimizers]
    started = time.time()
    for step in range(steps):
        done = step / steps
        batch = _batch(data, rng, several=done >= PACKED_FROM and step % 2 == 1)
        loss = _loss(hf, reader, batch, VALUE_WEIGHT if done < 0.9 else 0.0)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
        if (step + 1) % max(1, steps // 20) == 0:
            shares = "  ".join(f"{n}-OP {_mean(hf, tested[n]):.1%}" for n in tested)
            spent = time.time() - started
            print(f"step {step + 1}  {spent:.0f} s  loss {loss.item():.3f}  {shares}", flush=True)


def _optimizers(hf: LlamaForCausalLM, reader: nn.Linear) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the matrices of the layers, AdamW for embeddings, norms and the reader."""
    matrices = [weight for weight in hf.model.layers.parameters() if weight.ndim == 2]
    norms = [weight for weight in hf.model.parameters() if weight.ndim == 1]
    others = [hf.model.embed_tokens.weight, *norms, *reader.parameters()]
    adam = torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0)
    return Muon(matrices, MUON_RATE), adam


@torch.no_grad()
def accuracy(hf: LlamaForCausalLM, lines: Lines) -> float:
    """Return the share of lines whose answer and newline are all the likeliest tokens."""
    some = lines.rows(torch.arange(min(len(lines), MOST_TESTED)))
    likeliest = hf(input_ids=some.ids).logits.argmax(-1)[:, :-1]
    right = (likeliest == some.ids[:, 1:]) | ~some.answers[:, :-1]
    return right.all(dim=1).float().mean().item()


def _mean(hf: LlamaForCausalLM, parts: Sequence[Lines]) -> float:
    return sum(accuracy(hf, lines) for lines in parts) / len(parts)


def _rate(step: int, steps: int) -> float:
    """The learning rate as a share: up at once, level, then down in a line."""
    return min(1.0, (step + 1) / WARM_UP) * min(1.0, (1 - step / steps) / (1 - DECAY_FROM) + 0.01)


def _batch(data: dict[int, list[Lines]], rng: random.Random, *, several: bool) -> Lines:
    """Draw lines with one number of operators, all sets of them alike."""
    n = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
    each = 2 * LINES // (n + 1) // len(data[n])
    drawn = joined([lines.rows(torch.randint(len(lines), (each,))) for lines in data[n]])
    if not several:
        return drawn
    return packed(drawn.rows(torch.randperm(len(drawn))), rng.choice((2, 3, 4, 5)))


def _loss(hf: LlamaForCausalLM, reader: nn.Linear, batch: Lines, value_weight: float) -> Tensor:
    hidden = hf.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    answers, values = batch.answers[:, :-1], batch.values[:, :-1]
    loss = cross_entropy(hf.lm_head(hidden[answers]), batch.ids[:, 1:][answers])
    if value_weight:
        known = values != NONE
        loss = loss + value_weight * _value_loss(reader(hidden[known]), values[known])
    return loss


def _value_loss(read: Float[Tensor, "N 30"], values: Tensor) -> Tensor:
    """How well the ones, tens and hundreds are told."""
    digits = torch.stack([values % 10, values // 10 % 10, values // 100], dim=1)
    return cross_entropy(read.reshape(-1, 10), digits.reshape(-1))


def main() -> None:
    """Parse the command line, train and write."""
    parser = argparse.ArgumentParser(description="Train the model four-operators.")
    parser.add_argument("--out", type=Path, required=True, help="The folder to write.")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"Steps ({STEPS}).")
    parser.add_argument("--seed", type=int, default=0, help="Of weights and batches (0).")
    given = parser.parse_args()
    hf = new_model(given.seed)
    train(hf, given.steps, given.seed)
    save_small_model(hf, given.out)


if __name__ == "__main__":
    main()
