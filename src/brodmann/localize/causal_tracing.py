"""Causal tracing (Meng et al. 2022; cnl.txt, appendix C): which state brings a fact back."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from brodmann.data import Fact
from brodmann.errors import DataError, InputError
from brodmann.localize.trace import KINDS, Trace
from brodmann.localize.tracing_grid import Answered, Batches, grid
from brodmann.models.language_model import LanguageModel
from brodmann.models.logits import final_norm_module, logits_from_normed
from brodmann.models.recorded_run import Run, clean_run, corrupted_run
from brodmann.models.restart import Restoration
from brodmann.models.subject_tokens import subject_span
from brodmann.models.tokens import tokenise_answer
from brodmann.progress import progress as shown_progress

TARGETS = ("own", "answer")
ANSWER_TOKENS = ("first", "product", "mean")
TOKENS = ("all", "subject-last")


def causal_tracing(
    model: LanguageModel,
    facts: Sequence[Fact],
    *,
    kinds: Sequence[str] = KINDS,
    window: int = 10,
    draws: int = 10,
    noise: int | float = 3.0,
    seed: int = 0,
    target: str = "own",
    answer_tokens: str = "first",
    tokens: str = "all",
    batch_size: int | Literal["auto"] = "auto",
    progress: bool | None = None,
) -> list[Trace]:
    """Trace facts; :func:`traces` gives them one by one, and says how.

    Returns:
        One trace per fact, in their order.
    """
    return list(
        traces(
            model, facts, kinds=kinds, window=window, draws=draws, noise=noise, seed=seed,
            target=target, answer_tokens=answer_tokens, tokens=tokens, batch_size=batch_size,
            progress=progress,
        )
    )  # fmt: skip


def traces(
    model: LanguageModel,
    facts: Sequence[Fact],
    *,
    kinds: Sequence[str] = KINDS,
    window: int = 10,
    draws: int = 10,
    noise: int | float = 3.0,
    seed: int = 0,
    target: str = "own",
    answer_tokens: str = "first",
    tokens: str = "all",
    done: Collection[str] = (),
    batch_size: int | Literal["auto"] = "auto",
    progress: bool | None = None,
) -> Iterator[Trace]:
    """Trace facts one by one: what brings the answer back when the subject is made unreadable.

    Effect(t, l) = mean over draws of P(answer | noise on the subject, state (t, l) as in the
    clean run) - P(answer | noise on the subject). Noise is N(0, (``noise`` * s)^2), s the standard
    deviation of the embedding module's outputs over the subject tokens of all ``facts``. It is
    drawn on the CPU by (seed, fact) and so is the same on every device and in any company of
    facts, up to s.

    Exact and not sampled: the clean and the corrupted runs are read once, each restored run is
    restarted behind the layer where it differs, on the tokens from the restored one on, and all
    layers of a token walk up together (:mod:`brodmann.models.restart`). Tokens in front of the
    subject need no run: nothing changes there.

    What differs from the peer (ROME's ``causal_trace.py``): any family, with the subject found
    by the tokens' places in the text; a sublayer's output is what the residual stream receives,
    behind a post-norm where the family has one; s is taken of subjects as they stand in their
    prompts, and noise is drawn per fact instead of the same for all; the answer may be the fact's
    own and of several tokens.

    Args:
        model: the model to look into.
        facts: what is asked; the prompt of each is traced, not its paraphrases.
        kinds: what is restored: ``"residual"`` (the output of one layer), ``"mlp"`` and
            ``"attention"`` (their outputs in the layers [l - window // 2, l + (window + 1) // 2),
            cut at the ends).
        window: layers whose sublayer outputs are restored together.
        draws: of the noise.
        noise: its size, in standard deviations.
        seed: of the noise.
        target: ``"own"``: the model's own most probable next token (the peer), or ``"answer"``:
            the fact's.
        answer_tokens: of the fact's answer: ``"first"``, or all, teacher-forced, by their
            ``"product"`` or ``"mean"`` probability.
        tokens: where something is restored: at ``"all"`` tokens of the prompt, or at the
            subject's last one only (``"subject-last"``), where :func:`~.trace.top_layers` looks:
            the same numbers, and NaN at the tokens that are left out.
        done: ids of facts that were traced before: they count for s and are left out.
        batch_size: restored states at once, each with all its draws, or ``"auto"``.
        progress: True or False shows or hides the bar; None leaves it to the terminal.

    Yields:
        One trace per fact.

    Raises:
        InputError: an option that is not one.
        DataError: no facts, or one whose subject or answer cannot be found in tokens.
        ModelError: layers that add something else than the architecture row says.
    """
    options = _Options(tuple(kinds), window, draws, noise, seed, target, answer_tokens, tokens)
    if not facts:
        raise DataError("Expected at least one fact to trace; got none.")
    if batch_size != "auto" and batch_size < 1:
        raise InputError(f"Expected a batch size of 1 or more, or 'auto'; got {batch_size}.")
    asked = [_asked(model, fact) for fact in facts]
    tracer = _Tracer(model, options, _spread(model, asked), Batches.of(model, batch_size))
    left = [one for one in asked if one.fact.id not in done]
    return (
        tracer.trace(one)
        for one in shown_progress(
            left, total=len(asked), label="Tracing", done=len(asked) - len(left), shown=progress
        )
    )


@dataclass(frozen=True, slots=True)
class _Options:
    """The options that decide a trace; see :func:`traces`."""

    kinds: tuple[str, ...]
    window: int
    draws: int
    noise: int | float
    seed: int
    target: str
    answer_tokens: str
    tokens: str

    def __post_init__(self) -> None:
        for kind in self.kinds or ("none",):
            _check_choice("kinds", kind, KINDS)
        _check_choice("target", self.target, TARGETS)
        _check_choice("answer_tokens", self.answer_tokens, ANSWER_TOKENS)
        _check_choice("tokens", self.tokens, TOKENS)
        for name in ("window", "draws"):
            if getattr(self, name) < 1:
                raise InputError(f"Expected {name} of 1 or more; got {getattr(self, name)}.")
        if not self.noise > 0:
            raise InputError(f"Expected noise above 0 standard deviations; got {self.noise:g}.")
        if self.target == "own" and self.answer_tokens != "first":
            raise InputError(
                f"Expected answer_tokens 'first' with the model's own answer, which is one token; "
                f"got '{self.answer_tokens}'. Write target='answer' to trace the fact's."
            )

    def layers(self, kind: str, layer: int, n_layers: int) -> tuple[int, int]:
        """The layers [start, stop) where something is restored for one cell of the grid."""
        if kind == "residual":
            return layer, layer + 1
        return (
            max(0, layer - self.window // 2),
            min(n_layers, layer + (self.window + 1) // 2),
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A fact in tokens: prompt and answer, where the answer begins, and where the subject is."""

    fact: Fact
    ids: tuple[int, ...]
    n_prompt: int
    subject: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Tracer:
    """Traces facts with the same options.

    Attributes:
        spread: standard deviation of the subjects' embeddings.
    """

    model: LanguageModel
    options: _Options
    spread: float
    batches: Batches

    def trace(self, asked: _Asked) -> Trace:
        model, options = self.model, self.options
        last = asked.n_prompt if options.answer_tokens == "first" else len(asked.ids) - 1
        clean = clean_run(model, asked.ids[:last])
        answered = self._answered(asked, last, clean)
        start, end = asked.subject
        width = clean.states[0].shape[-1]
        size = options.noise * self.spread
        noise = subject_noise(asked.fact, (options.draws, end - start, width), size, options.seed)
        corrupted = corrupted_run(model, asked.ids[:last], start, noise)
        before = answered.of_run(model, corrupted)
        shape = asked.n_prompt, model.n_layers
        effects = {kind: torch.full(shape, torch.nan) for kind in options.kinds}
        for values in effects.values():
            values[:start] = 0  # nothing changes in front of the subject
        traced = range(start, asked.n_prompt) if options.tokens == "all" else (end - 1,)
        for token in traced:
            cells = [
                Restoration(kind, token, *options.layers(kind, layer, model.n_layers))
                for kind in options.kinds
                for layer in range(model.n_layers)
            ]
            after = grid(model, clean, corrupted, cells, answered, self.batches)
            for kind, values in zip(options.kinds, after.chunk(len(options.kinds)), strict=True):
                effects[kind][token] = values - before
        return Trace(
            fact=asked.fact.id,
            tokens=tuple(str(model.tokenizer.decode([id_])) for id_ in asked.ids[: asked.n_prompt]),
            subject=asked.subject,
            answer=str(model.tokenizer.decode(answered.ids.tolist())),
            answer_ids=tuple(answered.ids.tolist()),
            clean=answered.of_run(model, clean),
            corrupted=before,
            effects=effects,
            provenance=self._provenance(),
        )

    def _answered(self, asked: _Asked, last: int, clean: Run) -> Answered:
        positions = torch.arange(asked.n_prompt - 1, last)
        ids = torch.tensor(asked.ids[asked.n_prompt : last + 1])
        if self.options.target == "own":
            state = final_norm_module(self.model)(clean.states[-1][:, positions])[0]
            ids = logits_from_normed(self.model, state).argmax(-1).cpu()
        return Answered(positions, ids, self.options.answer_tokens)

    def _provenance(self) -> dict[str, Any]:
        return {
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "method": "tracing",
            "rule": asdict(self.options) | {"noise_std": self.options.noise * self.spread},
        }


def subject_noise(
    fact: Fact, shape: tuple[int, int, int], size: float, seed: int = 0
) -> Float[Tensor, "R s D"]:
    """The noise of a fact, drawn on the CPU by (seed, fact): the same in any company.

    Args:
        fact: its id and prompt count.
        shape: draws, subject tokens, width of the embeddings.
        size: standard deviation.
        seed: what makes it another noise.
    """
    told = "\0".join((str(seed), fact.id, fact.prompt))
    generator = torch.Generator().manual_seed(int(sha256(told.encode()).hexdigest()[:15], 16))
    return torch.randn(shape, generator=generator) * size


def _asked(model: LanguageModel, fact: Fact) -> _Asked:
    text = tokenise_answer(model, fact.prompt, fact.delimiter, fact.answer)
    subject = subject_span(model, fact.prompt, fact.subject, fact.delimiter, fact.answer)
    return _Asked(fact, text.ids, text.n_prompt, subject)


def _spread(model: LanguageModel, asked: Sequence[_Asked]) -> float:
    """Standard deviation over all entries of the subject tokens' embeddings."""
    ids = [id_ for one in asked for id_ in one.ids[slice(*one.subject)]]
    return float(_embedded(model, ids).to(model.score_dtype).std())


@torch.no_grad()
def _embedded(model: LanguageModel, ids: Sequence[int]) -> Float[Tensor, "s D"]:
    """What the embedding module gives, with a scale that it holds itself (gemma3)."""
    return model.hf.get_input_embeddings()(torch.tensor([list(ids)], device=model.device))[0]


def _check_choice(name: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise InputError(f"Expected {name} out of {', '.join(choices)}; got '{given}'.")
