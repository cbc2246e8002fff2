"""Restart a recorded forward pass in the middle: another state at one token, from one layer on.

What stands in front of the token, and below the layer, is as it was and is not run again.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from brodmann.errors import InputError
from brodmann.models.driven_attention import drives
from brodmann.models.language_model import LanguageModel
from brodmann.models.recorded_run import Run
from brodmann.models.restart_attention import SuffixLayer, suffix_layers, whole_layers
from brodmann.models.sublayers import SUBLAYERS, sublayers_replaced


@dataclass(frozen=True, slots=True)
class Restoration:
    """What is put back into a corrupted run, at one token.

    Attributes:
        kind: ``"residual"``: the output of layer ``start``; ``"mlp"``, ``"attention"``: what that
            sublayer gives to the residual stream, in the layers from ``start`` to before ``stop``.
        token: where.
        start: the first layer.
        stop: one behind the last.
    """

    kind: str
    token: int
    start: int
    stop: int


@torch.no_grad()
def restarted(
    model: LanguageModel,
    clean: Run,
    corrupted: Run,
    restorations: Sequence[Restoration],
    positions: Int[Tensor, "A"],
) -> Float[Tensor, "C R A D"]:
    """The last layer's output of corrupted runs in which something clean is put back.

    Restorations of all layers walk up together: at each layer those that were restarted below
    pass through it as one batch, and those that start in it join behind it. Only the tokens from
    the restored one on are run; in front of it a causal model stays as it was.

    Args:
        model: the model.
        clean: gives what is restored; one sequence.
        corrupted: R sequences.
        restorations: C of them, all at the same token.
        positions: which tokens' output is wanted, none in front of the restored one.

    Raises:
        InputError: restorations at different tokens.
    """
    if len({one.token for one in restorations}) != 1:
        raise InputError("Expected restorations at one token; got several. Restart token by token.")
    order = sorted(range(len(restorations)), key=lambda index: restorations[index].start)
    walk = _Walk(model, clean, corrupted, [restorations[index] for index in order])
    hidden = walk.up()
    back = torch.tensor(order, device=hidden.device).argsort()
    return hidden[back][:, :, (positions - walk.first).to(hidden.device)]


@dataclass(slots=True)
class _Walk:
    """Restorations on their way up, the lowest first."""

    model: LanguageModel
    clean: Run
    corrupted: Run
    restorations: list[Restoration]

    @property
    def token(self) -> int:
        return self.restorations[0].token

    @property
    def first(self) -> int:
        """The first token that is run."""
        return self.token if drives(self.model) else 0

    def up(self) -> Float[Tensor, "C R m D"]:
        layers = suffix_layers if drives(self.model) else whole_layers
        hidden: Tensor | None = None
        with layers(self.model, self.corrupted) as run:
            for layer in range(self.restorations[0].start, self.model.n_layers):
                under = [one for one in self.restorations if one.start < layer]
                starting = [one for one in self.restorations if one.start == layer]
                if hidden is not None:
                    hidden = self._through(run, layer, hidden, under)
                if starting:
                    joining = self._behind(run, layer, starting)
                    hidden = joining if hidden is None else torch.cat([hidden.to(joining), joining])
        assert hidden is not None
        return hidden

    def _through(
        self, run: SuffixLayer, layer: int, hidden: Tensor, restorations: list[Restoration]
    ) -> Tensor:
        """Run one layer with what is restored in it; whole sequences go in copy by copy."""
        if drives(self.model):
            with self._restored(layer, restorations, *hidden.shape[1:3]):
                return run(layer, hidden, self.first)
        parts = []
        for copy, one in zip(hidden, restorations, strict=True):
            with self._restored(layer, [one], *hidden.shape[1:3]):
                parts.append(run(layer, copy[None], self.first))
        return torch.cat(parts)

    def _behind(self, run: SuffixLayer, layer: int, restorations: list[Restoration]) -> Tensor:
        """States behind the layer where restorations start: other than before at the token only."""
        below, above = self.corrupted.states[layer], self.corrupted.states[layer + 1]
        joined = above[None, :, self.first :].repeat(len(restorations), 1, 1, 1)
        whole = [i for i, one in enumerate(restorations) if one.kind == "residual"]
        parts = [i for i, one in enumerate(restorations) if one.kind != "residual"]
        place = self.token - self.first
        joined[whole, :, place] = self.clean.states[layer + 1][0, self.token]
        if parts:
            count = 1 if drives(self.model) else below.shape[1]
            given = below[:, self.first : self.first + count].expand(len(parts), -1, -1, -1)
            chosen = [restorations[index] for index in parts]
            joined[parts, :, place] = self._through(run, layer, given, chosen)[:, :, place]
        return joined

    def _restored(
        self, layer: int, restorations: list[Restoration], rows: int, count: int
    ) -> AbstractContextManager[None]:
        """Let sublayers give what they gave in the clean run, where a restoration says so."""
        given = {}
        for kind in SUBLAYERS:
            copies = [
                index
                for index, one in enumerate(restorations)
                if one.kind == kind and one.start <= layer < one.stop
            ]
            if copies:
                sequences = torch.tensor(copies)[:, None] * rows + torch.arange(rows)
                flat = sequences.flatten() * count + self.token - self.first
                given[kind] = flat, self.clean.sublayers[kind][layer][self.token]
        return sublayers_replaced(self.model, layer, given)
