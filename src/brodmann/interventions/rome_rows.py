"""The prompts of an edit, read once; then read again from the edited layer up, with a change.

An edit acts at the subject's last token. What stands in front of it never changes, nor does
anything below the edited layer: keys and values of the front are kept in a cache, and the layers
from the edited one on are run again from their recorded calls. So a step of the search for v*
costs the tokens behind the front, in the layers above.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache, DynamicCache

from brodmann.data.facts import Fact
from brodmann.models.activations import LayerCall, captured, hidden_states, layer_calls
from brodmann.models.batches import accepts, left_padded, right_padded
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module
from brodmann.models.subject_tokens import subject_span
from brodmann.models.tokens import tokenise_answer
from brodmann.models.written import written_shifted

ESSENCE = ("{} is a", " ", "thing")
"""What a subject is, which an edit of one fact should leave alone; any word may follow."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt of an edit.

    Attributes:
        ids: its tokens, up to the last whose prediction counts.
        subject: place of the subject's last token.
        reads: how many tokens at the end have a prediction that counts.
        targets: what they should predict; empty where the prediction should stay.
    """

    ids: tuple[int, ...]
    subject: int
    reads: int
    targets: tuple[int, ...]


def rows_of(
    model: LanguageModel, fact: Fact, target: str, prefixes: Sequence[str]
) -> tuple[list[Row], Row]:
    """The fact's prompt behind each prefix, with the target; and the subject's essence.

    Raises:
        DataError: the subject is not in the prompt, or prompt and target do not tokenise apart.
    """
    rows = []
    for prefix in prefixes:
        prompt = prefix + fact.prompt
        answer = tokenise_answer(model, prompt, fact.delimiter, target)
        _, end = subject_span(model, prompt, fact.subject, fact.delimiter, target)
        targets = answer.answer_ids
        rows.append(Row(answer.ids[:-1], end - 1, len(targets), targets))
    prompt, *rest = (text.format(fact.subject.strip()) for text in ESSENCE)
    _, end = subject_span(model, prompt, fact.subject, *rest)
    return rows, Row(tokenise_answer(model, prompt, *rest).prompt_ids, end - 1, 1, ())


class ReadRows:
    """A batch of rows as the model read them.

    Attributes:
        rows: the rows.
        keys: the input of the edited layer's down projection at each row's subject [R, n].
    """

    def __init__(self, model: LanguageModel, rows: Sequence[Row], layer: int) -> None:
        """Read the rows; all have tokens in front of the subject's last one, or none has."""
        self.rows = tuple(rows)
        self._model, self._layer = model, layer
        self._cache, mask = _read_fronts(model, [row.ids[: row.subject] for row in rows])
        rest = right_padded([row.ids[row.subject :] for row in rows], model.pad_id, model.device)
        width = rest.input_ids.shape[1]
        self._subjects = torch.arange(len(rows)) * width
        self._read_at = torch.tensor([
            index * width + len(row.ids) - row.subject - row.reads + read
            for index, row in enumerate(rows)
            for read in range(row.reads)
        ])  # fmt: skip
        inputs: dict[str, Any] = {
            "input_ids": rest.input_ids,
            "attention_mask": torch.cat([mask, rest.attention_mask], 1),
        }
        if accepts(model.decoder, "position_ids"):
            inputs["position_ids"] = mask.sum(1, keepdim=True) + rest.position_ids
        with (
            torch.no_grad(),
            captured(model, self._subjects, layers=[layer]) as seen,
            layer_calls(model, self._subjects) as calls,
        ):
            model.decoder(**inputs, past_key_values=_fork(self._cache), use_cache=True)
        self._calls = calls
        keys = seen[layer].z
        assert keys is not None
        self.keys: Float[Tensor, "R n"] = keys

    def normed(self, shift: Float[Tensor, "D"]) -> Float[Tensor, "Q D"]:
        """The final norm's output at all tokens that count, row by row, with a change.

        The edited layer's MLP writes ``shift`` more at the subjects' last tokens; gradients reach
        ``shift``.
        """
        model, cache = self._model, _fork(self._cache)
        hidden: Tensor | None = None
        with written_shifted(model, self._layer, self._subjects, shift):
            for layer in range(self._layer, model.n_layers):
                args, kwargs = _again(self._calls[layer], hidden, cache)
                hidden = hidden_states(model.sites[layer].layer_module(*args, **kwargs))
        assert hidden is not None
        flat = hidden.reshape(-1, hidden.shape[-1])
        return final_norm_module(model)(flat[self._read_at.to(flat.device)])


def read_in_batches(model: LanguageModel, rows: Sequence[Row], layer: int) -> list[ReadRows]:
    """Read rows in as few batches as there can be.

    Rows without a token in front of the subject's last one go apart. Float64 models with HF's
    eager attention cannot be padded in front (their mask becomes minus infinity in float32, and
    padding NaN): their batches hold fronts of one length.
    """
    attention = getattr(model.hf.config, "_attn_implementation", None)
    alike = model.dtype == torch.float64 and attention == "eager"
    batches: dict[int, list[Row]] = {}
    for row in rows:
        batches.setdefault(row.subject if alike else min(row.subject, 1), []).append(row)
    return [ReadRows(model, batch, layer) for batch in batches.values()]


@torch.no_grad()
def _read_fronts(
    model: LanguageModel, fronts: Sequence[Sequence[int]]
) -> tuple[Cache, Int[Tensor, "R T"]]:
    """Keys and values of what stands in front of the subjects' last tokens, and its mask."""
    # Without a config every layer of the cache keeps all tokens, sliding windows too.
    cache = DynamicCache()
    if not any(fronts):
        return cache, torch.zeros(len(fronts), 0, dtype=torch.long, device=model.device)
    padded = left_padded(fronts, model.pad_id, model.device)
    model.decoder(**padded.inputs_for(model.decoder), past_key_values=cache, use_cache=True)
    return cache, padded.attention_mask


def _again(
    call: LayerCall, hidden: Tensor | None, cache: Cache
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A layer's call with other hidden states (None: its own), and with this cache."""

    def renewed(value: Any) -> Any:
        return cache if isinstance(value, Cache) else value

    args = tuple(renewed(value) for value in call.args)
    kwargs = {name: renewed(value) for name, value in call.kwargs.items()}
    if hidden is None:
        return args, kwargs
    if args:
        return (hidden, *args[1:]), kwargs
    return args, kwargs | {"hidden_states": hidden}


def _fork(cache: Cache) -> Cache:
    """A cache that goes on from here; its layers replace their tensors and never write to them."""
    fork = copy.copy(cache)
    fork.layers = [copy.copy(layer) for layer in cache.layers]
    return fork
