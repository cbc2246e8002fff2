r"""Paraphrases of facts that a model of the user's writes, with all that was asked and answered.

The writer is any function from prompts to texts: a call of an API, or
:func:`brodmann.evaluate.greedy_writer` of a model that brodmann can load. What it writes is data to
be checked, not to be believed: a line is kept only when it holds the subject, ends where the
answer begins, and is new.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from brodmann.data.facts import Fact, places_of_words, prompt_fault
from brodmann.data.write import check_new_file, write_json_lines
from brodmann.errors import DataError

Writer = Callable[[Sequence[str]], Sequence[str]]
"""Prompts -> what the model wrote behind each."""

ASK = (
    "Each line begins a sentence that the same last word completes. Write {count} lines that mean "
    "the same as the first, in other words. Keep the name as it is.\n\n"
    "Name: Mount Fuji\nLast word: Japan\n"
    "1. Mount Fuji is a mountain in\n"
    "2. The country where Mount Fuji rises is\n"
    "3. To climb Mount Fuji, one travels to\n\n"
    "Name: {subject}\nLast word: {answer}\n"
    "1. {prompt}\n2."
)
"""What the model is asked, by default."""

_NUMBERING = re.compile(r"^\s*(?:\d+\s*[.):]|[-*•])?\s*")
_QUOTES = "\"'“”‘’"


@dataclass(frozen=True)
class Rewriting:
    """What a model was asked about one fact, what it wrote, and what of it was kept.

    Attributes:
        fact: the fact's id.
        prompt: what the model was asked.
        output: what it wrote.
        kept: the lines that ask for the fact.
        refused: (line, reason) of the others.
    """

    fact: str
    prompt: str
    output: str
    kept: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it in JSON types."""
        refused = [{"text": text, "reason": reason} for text, reason in self.refused]
        return {
            "fact": self.fact, "prompt": self.prompt, "output": self.output,
            "kept": list(self.kept), "refused": refused,
        }  # fmt: skip


def rewritten(
    facts: Sequence[Fact],
    writer: Writer,
    *,
    saved: str | os.PathLike[str],
    count: int = 4,
    ask: str = ASK,
) -> tuple[list[Fact], list[Rewriting]]:
    """Let a model write paraphrases, check them, and add those that ask for the fact.

    Args:
        facts: what to ask about.
        writer: gives the model's text for each prompt.
        saved: a new JSONL file for all prompts, outputs and what was refused.
        count: the most paraphrases to add to a fact.
        ask: the prompt, with ``{subject}``, ``{prompt}``, ``{answer}`` and ``{count}``.

    Returns:
        The facts with their paraphrases more, in order, and what was written about each.

    Raises:
        DataError: no facts, a prompt that lacks ``{subject}`` or ``{prompt}``, or a writer that
            does not give one text for each prompt.
        InputError: when the file exists.
    """
    if "{subject}" not in ask or "{prompt}" not in ask:
        raise DataError(
            f"Expected {{subject}} and {{prompt}} in what the model is asked; got: {ask!r}."
        )
    check_new_file(Path(saved))
    prompts = [_filled(ask, fact, count) for fact in facts]
    outputs = list(writer(prompts))
    if len(outputs) != len(prompts) or not all(isinstance(text, str) for text in outputs):
        raise DataError(
            f"Expected one text for each of {len(prompts)} prompts from the writer; got "
            f"{len(outputs)}."
        )
    notes = [_read(*asked, count) for asked in zip(facts, prompts, outputs, strict=True)]
    write_json_lines(saved, [note.to_dict() for note in notes], "paraphrases")
    more = [
        replace(fact, paraphrases=(*fact.paraphrases, *note.kept))
        for fact, note in zip(facts, notes, strict=True)
    ]
    return more, notes


def _filled(ask: str, fact: Fact, count: int) -> str:
    words = {
        "{subject}": fact.subject,
        "{prompt}": fact.prompt,
        "{answer}": fact.answer,
        "{count}": str(count),
    }
    # All at once, so that a subject with braces in it is not filled again.
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], ask)


def _read(fact: Fact, prompt: str, output: str, count: int) -> Rewriting:
    kept: list[str] = []
    refused: list[tuple[str, str]] = []
    for line in output.splitlines():
        text = _line(line, fact.answer)
        if not text:
            continue
        reason = _fault(text, fact, kept)
        if reason is None and len(kept) == count:
            reason = "more than were asked for"
        if reason is None:
            kept.append(text)
        else:
            refused.append((text, reason))
    return Rewriting(fact.id, prompt, output, tuple(kept), tuple(refused))


def _line(line: str, answer: str) -> str:
    """A line without its number, quotes, and the answer with what follows it at the end."""
    text = _NUMBERING.sub("", line).strip().strip(_QUOTES).rstrip(" _…")
    bare = text.rstrip(" .!" + _QUOTES)
    places = places_of_words(bare, answer)
    if places and places[-1] + len(answer) == len(bare):
        return bare[: places[-1]].rstrip()
    return text.removesuffix("...").rstrip()


def _fault(text: str, fact: Fact, kept: Sequence[str]) -> str | None:
    if text in fact.prompts or text in kept:
        return "not new"
    if text[-1] in ".!?。！？":
        return "ends before the answer could follow"
    if places_of_words(text.replace(fact.subject, ""), fact.answer):
        return "answer inside the prompt"
    return prompt_fault(text, fact.subject, fact.answer, fact.delimiter)
