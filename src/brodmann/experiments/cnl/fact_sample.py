"""Which facts an experiment on individual knowledge is about: known ones, several of a relation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from brodmann.data import Fact
from brodmann.data.fact_templates import all_relation_templates, paraphrased
from brodmann.data.split import first_shuffled
from brodmann.errors import DataError
from brodmann.evaluate.known_facts import known_facts
from brodmann.experiments.cells import Row, cell
from brodmann.experiments.check_values import check_least
from brodmann.experiments.examples_digest import examples_digest
from brodmann.experiments.partial import say
from brodmann.experiments.workbench import Workbench


@dataclass(frozen=True, kw_only=True)
class FactConfig:
    """Values of an experiment on facts.

    Attributes:
        facts: a name in the folder of data sets, a file or folder, or ``"own"`` (ten facts that
            are shipped, to try things on).
        n_facts: how many facts, two or more of each relation.
        prompts: prompts of each fact. Facts with fewer are asked by the templates of their
            relation, too, and are left out where that is not enough.
        known: whether facts that the model does not answer by itself are left out. Off only to
            see that an experiment runs: nothing can be said of knowledge that is not there.
        seed: of the choice of facts and all draws.
    """

    facts: str = "counterfact5"
    n_facts: int = 40
    prompts: int = 5
    known: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, n_facts=2, prompts=1)


@dataclass(frozen=True)
class FactSample:
    """The facts that were chosen.

    Attributes:
        facts: them, each with as many prompts as the config says.
        asked: how many facts the model was asked.
        known: how many of them it knows.
        seldom: how many were left out because it answers them at too few of their prompts.
        pool: the facts that could be chosen, the chosen ones among them.
        answered: which of the chosen facts' prompts the model answers, fact by fact. A fact is
            called known by its first; what is located at the others is there to be compared.
    """

    facts: tuple[Fact, ...]
    asked: int
    known: int
    seldom: int
    pool: tuple[Fact, ...]
    answered: tuple[bool, ...]

    @property
    def cells(self) -> list[Row]:
        """How many facts there were, were known, and are used, and what prompts are answered."""
        counts = {
            "asked": self.asked,
            "not known, left out": self.asked - self.known,
            "used": len(self.facts),
        }
        if self.seldom:
            counts["answered too seldom, left out"] = self.seldom
        share, n = sum(self.answered) / len(self.answered), len(self.answered)
        return [
            *(
                cell("Facts", row, "facts", count, unit="examples", extra=True)
                for row, count in counts.items()
            ),
            cell("Facts", "answered", "prompts of the used", share, unit="share", n=n, extra=True),
        ]


def chosen_facts(config: FactConfig, bench: Workbench, answered: int = 1) -> FactSample:
    """Choose facts that the model knows, two by two from each relation in turn.

    Relations with a single such fact are left out: what is particular to a fact shows only beside
    another fact of its relation.

    Args:
        config: which facts.
        bench: the model.
        answered: from 2 on, only facts that the model answers at so many of their prompts, and
            wordings that it answers come before the others.

    Raises:
        DataError: there are none.
    """
    found = [_asked_enough(one, config.prompts) for one in bench.facts(config.facts)]
    read = [one for one in found if len(one.prompts) >= config.prompts]
    if not read:
        raise DataError(
            f"Expected facts with {config.prompts} prompts or more in {config.facts}; there are "
            "none. Set prompts to a smaller number."
        )
    asked = first_shuffled(read, len(read), config.seed, config.facts)
    known = _known(asked, bench)
    usable = known if config.known else asked
    often = _answered_often(usable, answered, bench) if answered > 1 else usable
    facts = in_twos(often, config.n_facts)
    if not facts:
        told = f", and {len(often)} of these at {answered} prompts" if answered > 1 else ""
        raise DataError(
            f"Expected two facts of one relation in {config.facts} that {bench.name} knows; of "
            f"{len(asked)} it knows {len(known)}{told}. Take other facts, or a larger model."
        )
    if answered > 1:
        facts = _answered_first(facts, bench)
    cut = tuple(replace(one, paraphrases=one.paraphrases[: config.prompts - 1]) for one in facts)
    each = [one for fact in cut for one in asked_at(fact)]
    return FactSample(
        facts=cut,
        asked=len(asked),
        known=len(known),
        seldom=len(usable) - len(often),
        pool=tuple(often),
        answered=tuple(_knows(each, bench)),
    )


def _asked_enough(fact: Fact, prompts: int) -> Fact:
    """Ask a fact with fewer prompts by our templates of its relation, where there are any."""
    if len(fact.prompts) >= prompts:
        return fact
    return paraphrased(fact, all_relation_templates().get(fact.relation, ()))


def _answered_often(facts: Sequence[Fact], least: int, bench: Workbench) -> list[Fact]:
    """Keep facts that the model answers at ``least`` of their prompts or more."""
    if not facts:
        return []
    answers = iter(_knows([one for fact in facts for one in asked_at(fact)], bench))
    return [fact for fact in facts if sum(next(answers) for _ in fact.prompts) >= least]


def _answered_first(facts: Sequence[Fact], bench: Workbench) -> list[Fact]:
    """Put the wordings first that the model answers for more facts of their relation.

    They are in one order for all facts of a relation, so that subjects are still asked alike.
    """
    each = [one for fact in facts for one in asked_at(fact)]
    counts: Counter[tuple[str, str]] = Counter()
    for one, answered in zip(each, _knows(each, bench), strict=True):
        counts[one.relation, wording(one, one.prompt)] += answered
    ordered = [
        sorted(fact.prompts, key=lambda prompt: -counts[fact.relation, wording(fact, prompt)])
        for fact in facts
    ]
    return [
        replace(fact, prompt=prompts[0], paraphrases=tuple(prompts[1:]))
        for fact, prompts in zip(facts, ordered, strict=True)
    ]


def wording(fact: Fact, prompt: str) -> str:
    """Return a prompt of a fact without its subject."""
    return prompt.replace(fact.subject, "{}")


def in_twos(facts: Sequence[Fact], n: int) -> list[Fact]:
    """Take up to ``n`` facts, the next two of each relation in turn; relations of one are left out.

    The order within a relation is kept, so that the first ``k`` of more facts are those of fewer.
    """
    sizes = Counter(fact.relation for fact in facts)
    lines: dict[str, list[Fact]] = {}
    for fact in facts:
        if sizes[fact.relation] > 1:
            lines.setdefault(fact.relation, []).append(fact)
    taken: list[Fact] = []
    while lines and len(taken) < n:
        for relation in list(lines):
            taken += lines[relation][:2]
            lines[relation] = lines[relation][2:]
            if not lines[relation]:
                del lines[relation]
    return taken[:n]


def relation_by_relation(facts: Sequence[Fact]) -> list[Fact]:
    """Put one fact of each relation first, then a second one of each, and so on.

    Facts of one relation have much in common, so that a few facts tell most when they are of as
    many relations.
    """
    seen = Counter[str]()
    rounds = []
    for fact in facts:
        rounds.append(seen[fact.relation])
        seen[fact.relation] += 1
    return [fact for _, fact in sorted(zip(rounds, facts, strict=True), key=lambda one: one[0])]


def asked_at(fact: Fact) -> list[Fact]:
    """Return a fact once for each of its prompts, with this prompt only."""
    return [replace(fact, prompt=prompt, paraphrases=()) for prompt in fact.prompts]


def prompts_digest(facts: Sequence[Fact]) -> str:
    """Return a digest of the facts' prompts, subjects and answers, for keys."""
    examples = [example for fact in facts for example in fact.examples()]
    return f"{examples_digest(examples)} {'|'.join(fact.subject for fact in facts)}"


def _known(facts: Sequence[Fact], bench: Workbench) -> list[Fact]:
    return [fact for fact, known in zip(facts, _knows(facts, bench), strict=True) if known]


def _knows(facts: Sequence[Fact], bench: Workbench) -> list[bool]:
    """Whether the model answers each fact at its first prompt."""

    def ask() -> list[bool]:
        say(f"{bench.name}: asking {len(facts)} facts")
        found = known_facts(bench.model, facts, batch_size=bench.batch_size, progress=False)
        return [bool(row["known"]) for row in found.rows]

    examples = [fact.examples()[0] for fact in facts]
    return list(bench.piece({"known": examples_digest(examples)}, ask))
