"""Lines such as ``7*3=21`` as tensors: what ``four-operators`` learns from and is measured on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.functional import pad

from brodmann.data.arithmetic.expressions import Bounds, Expression, Space, evaluate
from brodmann.data.arithmetic.membership import belongs
from brodmann.data.arithmetic.options import of_length
from brodmann.data.split import Subset
from brodmann.models.byte_tokenizer import byte_tokenizer

SPLIT_SEED = 0
LARGEST = {1: 12, 2: 12, 3: 9, 4: 5, 5: 5}
"""By the number of operators: the largest number that is drawn."""

NONE = -1
_LARGEST_VALUE = 999


@dataclass(frozen=True)
class Lines:
    """Solved expressions, one a row, each with the newline behind it.

    Attributes:
        ids: the tokens; 0 is padding behind [N, T].
        answers: True where the next token is one of the answer, or the newline [N, T].
        values: at the last digit of each number the value of the expression up to there, at the
            equals sign that of the whole; NONE elsewhere, and where a part of the expression is
            itself a test expression, or has no value [N, T].
    """

    ids: Int[Tensor, "N T"]
    answers: Bool[Tensor, "N T"]
    values: Int[Tensor, "N T"]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Int[Tensor, "n"]) -> "Lines":
        """Return some of the lines."""
        return Lines(self.ids[index], self.answers[index], self.values[index])


def expressions(
    names: tuple[str, ...], split: Literal["train", "test"], most: int
) -> list[Expression]:
    """Return expressions with these operators of one split, in an order that is always the same.

    Args:
        names: the operators.
        split: of seed 0, as :func:`brodmann.load_examples` divides.
        most: how many proposals are looked at; their order depends on the operators alone.
    """
    space = Space(names, Bounds(1, LARGEST[len(names)]))
    subset = Subset(split, SPLIT_SEED)
    order = random.Random("-".join(names)).sample(range(space.size), min(most, space.size))
    proposals = (space.at(index) for index in order)
    return [e for e in proposals if e and e.value <= _LARGEST_VALUE and belongs(e, subset)]


def solved_lines(n_operators: int, split: Literal["train", "test"], most: int) -> list[Lines]:
    """Return the lines of each set of ``n_operators`` operators."""
    return [_lines(expressions(names, split, most)) for names in of_length(n_operators)]


def joined(lines: Sequence[Lines]) -> Lines:
    """Return the lines of several sets, padded to one width."""
    width = max(part.ids.shape[1] for part in lines)
    room = [width - part.ids.shape[1] for part in lines]
    return Lines(
        torch.cat([pad(part.ids, (0, n)) for part, n in zip(lines, room, strict=True)]),
        torch.cat([pad(part.answers, (0, n)) for part, n in zip(lines, room, strict=True)]),
        torch.cat(
            [pad(part.values, (0, n), value=NONE) for part, n in zip(lines, room, strict=True)]
        ),
    )


def packed(lines: Lines, shots: int) -> Lines:
    """Return texts of several lines each, one behind the other, padding at the end alone."""
    n = len(lines) // shots
    ids, answers, values = (
        part[: n * shots].reshape(n, -1) for part in (lines.ids, lines.answers, lines.values)
    )
    order = (ids == 0).long().argsort(dim=1, stable=True)[:, : int((ids != 0).sum(1).max())]
    return Lines(ids.gather(1, order), answers.gather(1, order), values.gather(1, order))


def _lines(found: Sequence[Expression]) -> Lines:
    texts = [f"{expression}={expression.value}\n" for expression in found]
    shape = (len(texts), max(map(len, texts), default=0))
    ids, values = torch.zeros(shape, dtype=torch.long), torch.full(shape, NONE)
    answers = torch.zeros(shape, dtype=torch.bool)
    tokens = byte_tokenizer()(texts)["input_ids"] if texts else []
    for row, (expression, text) in enumerate(zip(found, texts, strict=True)):
        equals, end = text.index("="), len(text)
        ids[row, :end] = torch.tensor(tokens[row])
        answers[row, equals : end - 1] = True
        for place, value in _values(expression):
            values[row, place] = value
        values[row, equals] = expression.value
    return Lines(ids, answers, values)


def _values(expression: Expression) -> list[tuple[int, int]]:
    """Return (place, value) of each part from the left that may be learned from."""
    found, place = [], -1
    for n, operand in enumerate(expression.operands):
        place += len(str(operand))
        operands, operators = expression.operands[: n + 1], expression.operators[:n]
        value = evaluate(operands, operators)
        if value is not None and value <= _LARGEST_VALUE and _is_train(operands, operators, value):
            found.append((place, value))
        place += 1
    return found


def _is_train(operands: tuple[int, ...], operators: tuple[str, ...], value: int) -> bool:
    part = Expression(operands, operators, value)
    return not operators or belongs(part, Subset("train", SPLIT_SEED))
