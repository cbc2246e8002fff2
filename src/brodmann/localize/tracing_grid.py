"""The grid of one fact: every state restored in turn, and what that does to the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.localize.room import Room, in_chunks
from brodmann.models.batches import token_budget
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module
from brodmann.models.probability import log_probability
from brodmann.models.recorded_run import Run
from brodmann.models.restart import Restoration, restarted


@dataclass(slots=True)
class Batches:
    """How many restored states go at once.

    Attributes:
        size: what was asked for: states, each with all its draws, or ``"auto"``.
        tokens: the tokens that may go at once, as far as is known.
    """

    size: int | Literal["auto"]
    tokens: int

    @classmethod
    def of(cls, model: LanguageModel, size: int | Literal["auto"]) -> "Batches":
        """As many as the model's device takes well."""
        return cls(size, token_budget(model.hf))

    def room(self, tokens_each: int) -> Room:
        """Room for states that take so many tokens each."""
        fitting = max(1, self.tokens // tokens_each)
        return Room(fitting if self.size == "auto" else self.size, 1)

    def learn(self, room: Room, tokens_each: int) -> None:
        """Keep in mind what memory turned out to hold."""
        if self.size == "auto":
            self.tokens = min(self.tokens, max(room.tasks, 1) * tokens_each)
        else:
            self.size = min(self.size, room.tasks)


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and where it is looked for.

    Attributes:
        positions: the tokens that predict it, ascending.
        ids: what they should predict.
        by: ``"mean"`` for the mean probability of its tokens, else their product.
    """

    positions: Int[Tensor, "A"]
    ids: Int[Tensor, "A"]
    by: str

    def probability(
        self, model: LanguageModel, states: Float[Tensor, "C R A D"]
    ) -> Float[Tensor, "C R"]:
        """The answer's probability, from the last layer's output at the positions."""
        normed = final_norm_module(model)(states.flatten(0, 2)[None])[0]
        ids = self.ids.repeat(states.shape[0] * states.shape[1])
        log_p = log_probability(model, normed, ids).view(states.shape[:3]).cpu()
        return log_p.exp().mean(-1) if self.by == "mean" else log_p.sum(-1).exp()

    def of_run(self, model: LanguageModel, run: Run) -> float:
        """Its mean probability over the sequences of a run."""
        states = run.states[-1][None, :, self.positions.to(run.states[-1].device)]
        return float(self.probability(model, states).mean())


@torch.no_grad()
def grid(
    model: LanguageModel,
    clean: Run,
    corrupted: Run,
    cells: Sequence[Restoration],
    answered: Answered,
    batches: Batches,
) -> Float[Tensor, "C"]:
    """The answer's probability with one state restored, the mean over the corrupted sequences.

    Args:
        model: the model.
        clean: what is restored.
        corrupted: sequences with noise on the subject, one for each draw.
        cells: what is restored; all at one token.
        answered: the answer.
        batches: how many go at once.
    """
    token = cells[0].token
    found = torch.full((len(cells),), answered.of_run(model, corrupted))
    # Behind the last layer nothing reaches another token: there the answer stays as it was.
    reaching = [
        index
        for index, cell in enumerate(cells)
        if cell.start < model.n_layers - 1 or token in answered.positions
    ]
    # A chunk starts in neighbouring layers, so that most of it walks up together.
    reaching.sort(key=lambda index: cells[index].start)

    def compute(chosen: slice, _: slice) -> None:
        chunk = reaching[chosen]
        states = restarted(
            model, clean, corrupted, [cells[index] for index in chunk], answered.positions
        )
        found[chunk] = answered.probability(model, states).mean(1).to(found)

    draws, length, _ = corrupted.states[0].shape
    tokens_each = draws * (length - token)
    room = batches.room(tokens_each)
    in_chunks(room, len(reaching), 1, compute)
    batches.learn(room, tokens_each)
    return found
