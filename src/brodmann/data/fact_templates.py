"""Other ways to ask for a fact, from templates: our own of common relations, or a user's."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from brodmann.data.facts import Fact
from brodmann.errors import DataError, UnknownNameError


def paraphrased(fact: Fact, templates: Sequence[str]) -> Fact:
    """Return the fact with a paraphrase more for each template that asks in other words.

    Args:
        fact: the fact; its own prompt and paraphrases stay in front.
        templates: texts with ``{}`` for the subject, which end where the answer begins. One that
            gives a prompt that the fact has already adds nothing.

    Raises:
        DataError: a template without ``{}``, or one that ends with the fact's answer.
    """
    for template in templates:
        if "{}" not in template:
            raise DataError(
                f"Expected {{}} for the subject in the template '{template}'; it has none: a "
                "paraphrase without the subject asks for nothing."
            )
    texts = (template.replace("{}", fact.subject).rstrip() for template in templates)
    more = [text for text in dict.fromkeys(texts) if text not in fact.prompts]
    return replace(fact, paraphrases=(*fact.paraphrases, *more))


def relation_templates(relation: str) -> tuple[str, ...]:
    """Return our own templates of a relation, five at least.

    Args:
        relation: a property of Wikidata, such as ``"P36"``.

    Raises:
        UnknownNameError: when there are none for it.
    """
    known = all_relation_templates()
    if relation not in known:
        raise UnknownNameError("relation with templates", relation, known)
    return known[relation]


@cache
def all_relation_templates() -> Mapping[str, tuple[str, ...]]:
    """Return our own templates by relation: sentences written for this package."""
    text = files("brodmann.data").joinpath("relation_templates.json").read_text(encoding="utf-8")
    return MappingProxyType({name: tuple(listed) for name, listed in json.loads(text).items()})
